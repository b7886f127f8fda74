"""A multirun of Hydra with its joblib launcher, `hydra_steps.py --multirun +n=range(8)`; a job is one optimiser step.

Run by the interpreter of build/bench-peers: Hydra needs an older OmegaConf than this repository.
"""

import hydra
from one_step import step


@hydra.main(version_base=None, config_path=None)
def main(_config: object) -> None:
    """Take the step."""
    step()


if __name__ == "__main__":
    main()
