"""Ray Tune: `tune_steps.py JOBS REUSE` prints the seconds of a fit of so many trials, each one optimiser step.

Ray is started before; `REUSE` is 1 where trials share the actors of earlier ones.
"""

import json
import sys
import tempfile
import time

import ray
from one_step import step
from ray import tune


class Step(tune.Trainable):
    """One trial."""

    def setup(self, config: dict[str, object]) -> None:
        """Nothing is kept from one trial to the next."""

    def step(self) -> dict[str, object]:
        """One optimiser step, after which the trial is done."""
        return {"loss": step(), "done": True}

    def reset_config(self, new_config: dict[str, object]) -> bool:
        """The actor takes the next trial."""
        return True

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """There is nothing to save."""


def main(jobs: int, reuse: bool) -> None:
    """Print the seconds of one fit, after another that has started the workers."""
    ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR")
    with tempfile.TemporaryDirectory() as folder:
        taken = []
        for trials in (1, jobs):
            began = time.perf_counter()
            tuner = tune.Tuner(
                tune.with_resources(Step, {"cpu": 1}),
                param_space={"n": tune.grid_search(list(range(trials)))},
                tune_config=tune.TuneConfig(reuse_actors=reuse),
                run_config=tune.RunConfig(storage_path=folder, verbose=0),
            )
            assert not tuner.fit().errors
            taken.append(time.perf_counter() - began)
    print(json.dumps({"seconds": taken[-1]}))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2] == "1")
