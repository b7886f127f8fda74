"""One round: a study is run while something of it is killed at random times, then everything is compared.

All that is random is drawn from the round's seed: whom, how, after how long. What the victim was
doing at that moment is not, so a failure is looked for with the same seed again and again.
"""

import random
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from leftovers import files_outside
from mlflow_server import MlflowServer
from proof import (
    JOBS,
    Proof,
    attempts_begun,
    differences,
    doubled_points,
    missing_points,
    taken,
    wrongs,
)
from small_study import SmallStudy
from victims import EVERYTHING, ONE_OF_TWO, Family, Process

KILL, TERM, INT = int(signal.SIGKILL), int(signal.SIGTERM), int(signal.SIGINT)
STOP = int(signal.SIGSTOP)
"""Stopped for some seconds, then continued: a hang is not a death."""
MLFLOW = "MLflow server"

WEIGHTS: Mapping[tuple[str, int], float] = {
    # Cheap: something is forked, or nothing has to start again.
    ("job process", KILL): 8,
    ("job process", TERM): 2,
    ("job process", STOP): 1,
    ("tracking child", KILL): 2,
    ("tracking child", STOP): 1,
    ("guard of Ray", KILL): 1,
    # Something imports again for seconds.
    ("warm server", KILL): 3,
    ("warm server", STOP): 1,
    ("host actor", KILL): 3,
    ("host actor", STOP): 1,
    # Ray starts again.
    ("raylet", KILL): 1.5,
    ("raylet", STOP): 1,
    ("Ray's head (gcs_server)", KILL): 1,
    ("Ray's head (gcs_server)", STOP): 1,
    ("Ray child", KILL): 1.5,
    ("Ray child", STOP): 1,
    # The driver is started again.
    ("driver", KILL): 3,
    ("driver", TERM): 1,
    ("driver", INT): 1,
    ("driver", STOP): 1,
    (EVERYTHING, KILL): 2,
}
"""(kind, signal) -> how often, relative to the others."""
TWO_RANKS: Mapping[tuple[str, int], float] = {
    (ONE_OF_TWO, KILL): 6,
    (ONE_OF_TWO, TERM): 2,
    (ONE_OF_TWO, STOP): 1,
    ("warm server", KILL): 1,
    ("driver", KILL): 1,
    (EVERYTHING, KILL): 1,
}
"""The same, where the driver holds the host itself."""

GAPS_S = (0.3, 6.0)
"""Between two kills."""
WANTED_GAPS_S = (0.3, 1.0)
"""Before each of those that a test asks for: a quick machine is not to be done before the last of them."""
STOPPED_S = (0.5, 6.0)
VICTIM_WITHIN_S = 20.0
"""A victim that does not live is waited for so long; then another is drawn."""
ROUND_WITHIN_S = 900.0
SILENT_WITHIN_S = 20.0
"""From the end of a run to the last of its processes."""


@dataclass(frozen=True, kw_only=True)
class Kill:
    """One kill."""

    victim: str
    how: str
    at_s: float
    """Since the round began."""


@dataclass(kw_only=True)
class Record:
    """What happened in a round."""

    seed: int
    kind: str
    kills: list[Kill] = field(default_factory=list)
    starts: int = 0
    """Drivers."""
    attempts: int = 0
    jobs: int = 0
    resumed: int = 0
    """Attempts that went on from a checkpoint of a machine that is lost."""
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """One line of the long form's output."""
        return asdict(self)


class Round:
    """A study under fire; `play` runs it to the end and gives the record."""

    def __init__(
        self,
        study: SmallStudy,
        reference: Proof,
        *,
        seed: int,
        kills: int,
        weights: Mapping[tuple[str, int], float] = WEIGHTS,
        jobs: int = JOBS,
        server: MlflowServer | None = None,
        first: Sequence[tuple[str, int]] = (),
    ) -> None:
        """Prepare.

        Args:
            study: in an empty folder.
            reference: of the undisturbed run.
            seed: of all that is drawn.
            kills: planned; a round that is done before has had fewer.
            weights: (kind of victim, signal) -> weight.
            jobs: that the run commits.
            server: the MLflow server it tracks to, a victim too.
            first: kills that come before those that are drawn.
        """
        self._study = study
        self._reference = reference
        self._random = random.Random(seed)
        self._planned = kills
        self._weights = {**weights, **({(MLFLOW, KILL): 12.0} if server is not None else {})}
        self._others: dict[str, Callable[[], str]] = {MLFLOW: self._kill_server} if server is not None else {}
        """Kind of victim that is no process of the study -> what kills it, and says how; empty: it could not."""
        self._jobs = jobs
        self._server = server
        self._first = list(first)
        self._family = Family(study.home)
        self._outside = set(files_outside())
        self._record = Record(seed=seed, kind="study")
        self._began = time.monotonic()
        self._driver: subprocess.Popen[bytes] | None = None
        self._asked = False
        """Whether the driver was asked to end: 130 is its right answer."""

    @property
    def output(self) -> Path:
        """What the drivers said."""
        return self._study.home / "output.txt"

    def play(self, kind: str = "study") -> Record:
        """Run, kill, run again until it is done; then compare everything. `kind` names the round in its record."""
        record = self._record
        record.kind = kind
        try:
            ended_well = self._until_done()
            if ended_well:
                record.problems += self._compared()
        finally:
            self._family.end()
        record.seconds = round(time.monotonic() - self._began, 1)
        return record

    def _until_done(self) -> bool:
        """Whether a driver has ended with 0."""
        record, deadline = self._record, time.monotonic() + ROUND_WITHIN_S
        strike_at = self._next_strike()
        self._start()
        while time.monotonic() < deadline:
            assert self._driver is not None
            code = self._driver.poll()
            if code == 0:
                return True
            if code is not None and not self._is_explained(code):
                record.problems.append(f"`run` ended with {code}; it said: {self._last_words()}")
                return False
            if code is not None:
                if self._random.random() < 0.5:  # a hasty user, or a patient one
                    time.sleep(self._random.uniform(0.0, 5.0))
                self._start()
            if len(record.kills) < self._planned and time.monotonic() >= strike_at:
                self._strike()
                strike_at = self._next_strike()
            time.sleep(0.05)
        record.problems.append(f"not done after {ROUND_WITHIN_S:g} s; it said: {self._last_words()}")
        return False

    def _start(self) -> None:
        self._study.home.mkdir(parents=True, exist_ok=True)
        with self.output.open("ab") as output:
            self._driver = self._study.start(output)
        self._record.starts += 1
        self._asked = False

    def _is_explained(self, code: int) -> bool:
        """Whether the driver's end is what was done to it."""
        return code == -KILL or (self._asked and code in (130, -INT, -TERM))

    def _strike(self) -> None:
        wanted = bool(self._first)
        kind, how = self._first[0] if wanted else self._drawn()
        if kind in self._others:
            if done := self._others[kind]():
                self._note(kind, done)
                if wanted:
                    self._first.pop(0)
            return
        victims = self._awaited(kind, VICTIM_WITHIN_S if not wanted else ROUND_WITHIN_S)
        if not victims:
            return
        if wanted:
            self._first.pop(0)
        chosen = victims if kind == EVERYTHING else [self._random.choice(victims)]
        self._asked = self._asked or (kind == "driver" and how in (TERM, INT))
        for one in chosen:
            one.signal(how)
        self._note(kind, signal.Signals(how).name)
        if how == STOP:
            time.sleep(self._random.uniform(*STOPPED_S))
            for one in chosen:
                one.signal(signal.SIGCONT)

    def _kill_server(self) -> str:
        assert self._server is not None
        self._server.kill()
        time.sleep(self._random.uniform(0.0, 4.0))
        self._server.start()
        return "SIGKILL"

    def _awaited(self, kind: str, within_s: float) -> list[Process]:
        """The living ones of a kind, as soon as there are any; empty where the driver ends before, or it takes long."""
        assert self._driver is not None
        deadline = time.monotonic() + within_s
        while not (victims := self._family.of_kind(kind)):
            if time.monotonic() > deadline or self._driver.poll() is not None:
                return []
            time.sleep(0.05)
        return victims

    def _drawn(self) -> tuple[str, int]:
        return self._random.choices([*self._weights], [*self._weights.values()])[0]

    def _next_strike(self) -> float:
        return time.monotonic() + self._random.uniform(*(WANTED_GAPS_S if self._first else GAPS_S))

    def _note(self, victim: str, how: str) -> None:
        self._record.kills.append(Kill(victim=victim, how=how, at_s=round(time.monotonic() - self._began, 1)))

    def _compared(self) -> list[str]:
        study, record = self._study, self._record
        found = [*self._silence(), *self._swept()]
        own = taken(study)
        begun = attempts_begun(study)
        record.attempts, record.jobs = sum(begun.values()), len(begun)
        found += differences(self._reference, own) + wrongs(study, jobs=self._jobs)
        again = study.call("run")
        if again.returncode != 0 or "nothing to do" not in again.stdout:
            found.append(f"`run` again ended with {again.returncode}: {(again.stdout + again.stderr)[-2000:]}")
        if attempts_begun(study) != begun:
            found.append("`run` again started something")
        if self._server is not None or (study.folder / "mlflow.db").is_file():
            found += self._tracked(own)
        return found + self._silence()

    def _swept(self) -> list[str]:
        """What is wrong after whatever the study needs before its results are compared: nothing."""
        return []

    def _tracked(self, own: Proof) -> list[str]:
        """What MLflow has twice, now and after `sync`, and what it lacks after it."""
        database = self._study.folder / "mlflow.db" if self._server is None else self._server.database
        found = doubled_points(database)
        if missing_points(database, own):  # its writer was killed: `sync` is there for that
            synced = self._study.call("sync")
            if synced.returncode != 0:
                found.append(f"`sync` ended with {synced.returncode}: {synced.stderr[-2000:]}")
            found += doubled_points(database) + missing_points(database, own)
        return found

    def _silence(self) -> list[str]:
        """Processes, Ray sessions' folders, shared memory and locks that are left some time after the study's end."""
        deadline = time.monotonic() + SILENT_WITHIN_S
        while True:
            left = [f"process {one.pid} is left: {one.command[:120]}" for one in self._family.living().values()]
            left += [f"{path} is left" for path in files_outside() if path not in self._outside]
            if not left or time.monotonic() > deadline:
                return left
            time.sleep(0.1)

    def _last_words(self) -> str:
        return self.output.read_text(encoding="utf-8", errors="replace")[-3000:]
