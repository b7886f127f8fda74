"""The small study on the test cluster, one row of it, and what a test does to its jobs.

A rank is stopped (SIGSTOP) once it has saved a checkpoint, so that whatever is done to its job finds
it in the middle of a training that takes two seconds.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from proof import Proof, differences, taken, wrongs
from slurm_site import Site
from small_study import CHECKOUT, ECHO_MATRIX, SMALL, SmallStudy
from victims import Family, Process

from orchestrator.host.checkpoints import JobCheckpoints, attempt_folder, step_of
from orchestrator.schedule.ledger.database import NAME, Attempt, Ledger
from orchestrator.store.files import FilesStore

ROW = "ssm-blockwise"
TRAIN = f"train/{ROW}/s0"
JOBS = 3 + 1 + 3 + 2 + 2
"""data, latents, index; the row's training, three evaluations and two judgings."""
BEFORE = ("data", "latents", "index/s0")
"""What a training needs."""
QUICK_DRIVER = Path(__file__).parent / "quick_driver.py"
CLUSTER = """\
backend: {backend}
ray: {{address: local, cpus: 2, devices: 0, memory_gib: null}}
slurm:
  every: {{partition: long}}
  poll_s: 1.0
  pilot: {pilot}
store: {{kind: files}}
tracking: {{kind: mlflow, uri: null}}
retries: {{error: {error}, out_of_memory: 1, vanished: 3, free_in_a_row: 10}}
pause_after: 3
grace_s: 10.0
idle_s: {idle_s}
unknown_s: 300.0
checkpoint_every_s: 0.02
deepspeed: {{}}
deterministic: true
keep: full
paths: {{}}
"""
WITHIN_S = 120.0
"""For anything that a test waits for."""


@dataclass(frozen=True, kw_only=True)
class Frozen:
    """An attempt whose ranks stand still."""

    attempt: str
    ranks: tuple[int, ...]

    def stand_still(self) -> None:
        """Stop them, again if somebody has continued them."""
        for pid in self.ranks:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)

    def asked(self) -> bool:
        """Whether its host has asked all ranks to save and end."""
        return all(_pending(pid) >> (signal.SIGTERM - 1) & 1 for pid in self.ranks)


@dataclass(frozen=True, kw_only=True)
class SlurmStudy(SmallStudy):
    """A folder of outputs of the small study, run on `site`; under embedded Ray where there is none."""

    site: Site | None = None
    rows: str | None = ROW
    """None: the whole matrix."""
    jobs: int = JOBS
    """That a run commits."""
    error: int = 1
    """`retries.error`."""
    pilot: str = "null"
    """`slurm.pilot`, as YAML."""
    idle_s: float = 60.0
    """How long a pilot job is kept that nobody needs."""
    quick: bool = False
    """Its drivers beat every second and are given up after some seconds: `quick_driver.py`."""

    def start(self, output: IO[bytes], *before: str, arguments: tuple[str, ...] = ()) -> "subprocess.Popen[bytes]":
        """Start a driver in a session of its own; `before` is put in front of its command line."""
        return subprocess.Popen(
            [*before, *self.line("run", *arguments)],
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def call(self, verb: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a verb to its end."""
        return subprocess.run(self.line(verb, *arguments), env=self.environment(), capture_output=True, text=True)

    def environment(self) -> dict[str, str]:
        """Of everything that is started for it."""
        site = {} if self.site is None else {"SLURM_CONF": self.site.environment["SLURM_CONF"]}
        return {**super().environment(), **site}

    def line(self, verb: str, *arguments: str) -> list[str]:
        """A verb's command line; `explain`, `logs` and the like mean the study as it was run."""
        self.home.mkdir(parents=True, exist_ok=True)
        cluster = self.home / "cluster.yaml"
        backend = "ray" if self.site is None else "slurm"
        text = CLUSTER.format(backend=backend, error=self.error, pilot=self.pilot, idle_s=self.idle_s)
        cluster.write_text(text, encoding="utf-8")
        command = [sys.executable, str(QUICK_DRIVER)] if self.quick else [str(ECHO_MATRIX)]
        matrix = ("--matrix", str(CHECKOUT / "matrix.yaml"), "--cluster", str(cluster))
        rows = ("--rows", self.rows) if verb == "run" and self.rows is not None else ()
        return [*command, verb, *matrix, *rows, *arguments, *(SMALL if verb == "run" else ())]

    # What is known of it

    def attempts(self, label: str) -> list[Attempt]:
        """The attempts of a job, oldest first; none while there is no ledger."""
        if not (self.folder / NAME).exists():
            return []
        with Ledger.read(self.folder / NAME) as ledger:
            return [attempt for attempt in ledger.attempts() if attempt.label == label]

    def endings(self, label: str) -> list[str | None]:
        """How they ended."""
        return [attempt.ending for attempt in self.attempts(label)]

    def committed(self) -> set[str]:
        """Labels of the jobs that are done."""
        store = FilesStore(self.folder / "store")
        return {store.read(fingerprint).label for fingerprint in store.commits()}

    def logged(self, what: str) -> list[dict[str, Any]]:
        """Lines of driver.log of one kind."""
        lines = (self.folder / "driver.log").read_text(encoding="utf-8").splitlines()
        return [line for line in map(json.loads, lines) if line["what"] == what]

    def wrongs(self, reference: Proof) -> list[str]:
        """Whatever is not as after an undisturbed run that has ended well, in words."""
        found = differences(reference, taken(self)) + wrongs(self, jobs=self.jobs)
        assert self.site is not None
        # One that is COMPLETING has ended: SLURM waits for a word of a node that was away.
        queue = self.site.call("squeue", "--noheader", "--states=PENDING,RUNNING,SUSPENDED", "--format=%i %j %T")
        found += [f"squeue: {line}" for line in queue.splitlines()]
        found += [f"process {one.pid} is left: {one.command[:120]}" for one in Family(self.home).living().values()]
        return found

    def begin_from(self, reference: Path) -> None:
        """Take over what a training needs from a finished study at `reference` (`outputs/{study}`)."""
        source, target = FilesStore(reference / "store"), self.folder / "store"
        for fingerprint in source.commits():
            if source.read(fingerprint).label in BEFORE:
                artifact = source.fetch(fingerprint)
                shutil.copytree(artifact, target / artifact.relative_to(reference / "store"))
                (target / "commits").mkdir(parents=True, exist_ok=True)
                shutil.copy2(reference / "store" / "commits" / f"{fingerprint}.json", target / "commits")

    # What is done to its jobs

    def job_of(self, label: str) -> str:
        """The number of the SLURM job of a job of the study (`pilot`: of a pilot job) that waits or runs; or empty."""
        assert self.site is not None
        for line in self.site.call("squeue", "--noheader", "--format=%A %j").splitlines():
            number, name = line.split(maxsplit=1)
            if f":{label}:" in name:
                return number
        return ""

    def begin_again(self, number: str) -> None:
        """Let a job that was put back into the queue begin: SLURM makes it wait for two minutes."""
        assert self.site is not None
        site = self.site
        wait_until(lambda: "Reason=BeginTime" in site.call("scontrol", "show", "job", number), "the requeue")
        site.call("scontrol", "update", f"JobId={number}", "StartTime=now")

    @contextlib.contextmanager
    def frozen(self, attempt: int, *, beyond: int = 0) -> "Iterator[Frozen]":
        """Within, the training's ranks stand still.

        Args:
            attempt: which one of the training is waited for, counted from 0.
            beyond: until it has saved a checkpoint of a higher step; -1: none is waited for.
        """
        ranks: list[int] = []
        name = ""

        def caught() -> bool:
            nonlocal ranks, name
            mine = self.attempts(TRAIN)
            if len(mine) <= attempt:
                return False
            assert mine[attempt].ending in (None, "preempted"), f"{mine[attempt]} ended before it was caught"
            name = mine[attempt].id
            if beyond >= 0 and step_of(JobCheckpoints(self.folder, mine[attempt].fingerprint, name).newest()) <= beyond:
                return False
            path = attempt_folder(self.folder, mine[attempt].fingerprint, name) / "process.json"
            with contextlib.suppress(OSError):
                ranks = [rank["pid"] for rank in json.loads(path.read_text(encoding="utf-8"))["ranks"]]
                Frozen(attempt=name, ranks=tuple(ranks)).stand_still()
            return bool(ranks)

        wait_until(caught, f"the training's attempt {attempt}", look_s=0.02)
        try:
            yield Frozen(attempt=name, ranks=tuple(ranks))
        finally:
            for pid in ranks:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def step(self) -> int:
        """Newest checkpoint of the training, of any attempt."""
        mine = self.attempts(TRAIN)
        return max(step_of(JobCheckpoints(self.folder, one.fingerprint, one.id).newest()) for one in mine)


def _pending(pid: int) -> int:
    """The signals that wait for a process, as a mask; none for one that has gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
            if line.startswith("ShdPnd:"):
                return int(line.split()[1], 16)
    return 0


def wait_until(ready: Callable[[], bool], what: str, *, look_s: float = 0.2, within_s: float = WITHIN_S) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + within_s
    while not ready():
        assert time.monotonic() < deadline, f"waited {within_s:g} s for {what}"
        time.sleep(look_s)


def processes_of_job(site: Site, number: str) -> list[Process]:
    """The processes of a job of this very cluster, slurmstepd among them: what dies with its node."""
    found, ours = [], f"SLURM_CONF={site.environment['SLURM_CONF']}".encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            environment = (entry / "environ").read_bytes().split(b"\0")
            is_step = command.startswith(f"slurmstepd: [{number}.")
            if ours in environment and (is_step or f"SLURM_JOB_ID={number}".encode() in environment):
                found.append(Process(pid=int(entry.name), started=0, parent=0, session=0, command=command))
    return found
