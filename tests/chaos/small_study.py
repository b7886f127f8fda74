"""The study that the chaos suite kills: two rows by the real command line, Ray, DeepSpeed and MLflow, in seconds.

Trainings save a checkpoint after nearly every step, so that a kill costs seconds, and publish the
optimiser's state too, so that a resume which is not exact shows.
"""

import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from orchestrator.store.location import StoreLocation
from orchestrator.store.protocol import Store
from orchestrator.store.registry import make_store

CHECKOUT = Path(__file__).resolve().parents[2]
ECHO_MATRIX = Path(sys.executable).with_name("echo-matrix")
ROWS = ("context-k5", "ssm-blockwise")
STEPS = 16
SMALL = (
    "controls.data.train_scenes=8",
    "controls.data.held_out_scenes=2",
    "controls.data.open_prompts=2",
    "controls.data.open_variants=1",
    f"controls.training.steps={STEPS}",
    "controls.training.warmup_steps=2",
    "controls.training.sample_every=8",
    "controls.sampler.steps=2",
    "branches.replay.cases=2",
    "branches.replay.batch=1",
    "branches.loop.cases=2",
    "branches.loop.batch=1",
    "branches.return.cases=2",
    "branches.return.batch=1",
)
CLUSTER = """\
backend: ray
ray: {{address: local, cpus: 2, devices: 0, memory_gib: null}}
store: {store}
tracking: {{kind: mlflow, uri: {uri}}}
retries: {{error: 1, out_of_memory: 1, vanished: 30, free_in_a_row: 60}}   # seconds apart, as no cluster loses them
pause_after: 3
grace_s: 10.0
idle_s: 60.0
unknown_s: 300.0
checkpoint_every_s: 0.02
deepspeed: {deepspeed}
deterministic: true
keep: full
paths: {{}}
"""


@dataclass(frozen=True, kw_only=True)
class SmallStudy:
    """A folder of outputs of the small study, and how it is run."""

    home: Path
    """ECHO_MATRIX_HOME."""
    uri: str | None = None
    """Of an MLflow server; None: SQLite beside the outputs."""
    faults: Path | None = None
    """The folder in which kill points are armed."""
    starter: tuple[str, ...] = ()
    """Another command that drives it, instead of `echo-matrix run`; it reads `cluster.yaml` in `home`."""
    deepspeed: str = "{}"
    """In the cluster file."""
    bucket: StoreLocation | None = None
    """Its place in a bucket, of which the tests read; None: a store of files."""
    endpoint: str = ""
    """By which its own processes reach the bucket; empty: as the tests do."""
    lost: tuple[Path, ...] = ()
    """`outputs/{study}` of machines that are gone, the earliest first: nothing of it reads them."""

    @property
    def folder(self) -> Path:
        """`outputs/{study}`."""
        return self.home / "echo-memory"

    @property
    def store(self) -> Store:
        """Its store, as seen from a machine that has fetched nothing of it."""
        if self.bucket is None:
            return make_store(StoreLocation(folder=str(self.folder / "store")))
        return make_store(replace(self.bucket, url=f"{self.bucket.url}/{self.folder.name}"))

    def on_another_machine(self) -> "SmallStudy":
        """The same study, in another home with another cache; the folder of this one is out of its reach."""
        away = self.home.with_name(f"{self.home.name}-lost-{len(self.lost)}")
        self.home.rename(away)
        home = self.home.with_name(f"{self.home.name.partition('+')[0]}+{len(self.lost) + 1}")
        return replace(self, home=home, lost=(*self.lost, away / self.folder.name))

    def start(self, output: IO[bytes]) -> "subprocess.Popen[bytes]":
        """Start a driver in a session of its own; what it says goes to `output`."""
        command = self._run()
        return subprocess.Popen(
            command,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def call(self, verb: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a verb to its end."""
        command = self._run(*arguments) if verb == "run" else self._command(verb, *arguments)
        return subprocess.run(command, env=self.environment(), capture_output=True, text=True)

    def environment(self) -> dict[str, str]:
        """Of everything that is started for it."""
        given: dict[str, Any] = {"ECHO_MATRIX_HOME": self.home, "OMP_NUM_THREADS": 1, "OPENBLAS_NUM_THREADS": 1}
        if self.faults is not None:
            given["ECHO_MATRIX_FAULTS"] = self.faults
        return {**os.environ, **{name: str(value) for name, value in given.items()}}

    def _run(self, *arguments: str) -> list[str]:
        command = self._command("run", "--rows", ",".join(ROWS), *arguments)
        return list(self.starter) or command

    def _command(self, verb: str, *arguments: str) -> list[str]:
        self.home.mkdir(parents=True, exist_ok=True)
        cluster = self.home / "cluster.yaml"
        text = CLUSTER.format(uri=self.uri or "null", deepspeed=self.deepspeed, store=self._store_settings())
        cluster.write_text(text, encoding="utf-8")
        matrix = ("--matrix", str(CHECKOUT / "matrix.yaml"), "--cluster", str(cluster))
        overrides = () if verb == "gc" else SMALL
        return [str(ECHO_MATRIX), verb, *matrix, *arguments, *overrides]

    def _store_settings(self) -> str:
        if self.bucket is None:
            return "{kind: files}"
        place = f"url: {self.bucket.url}, endpoint: '{self.endpoint or self.bucket.endpoint}'"
        return f"{{kind: s3, {place}, region: {self.bucket.region}, cache: '{self.home / 'cache'}'}}"
