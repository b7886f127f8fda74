"""Rounds of a study whose artifacts are in a bucket: machines are lost for good, and requests fail on their way.

A machine that is lost takes all of its processes and its home along. The study goes on in another home with another
cache, which has nothing but the bucket.
"""

import re
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from proof import Proof
from rounds import KILL, VICTIM_WITHIN_S, WEIGHTS, Round
from s3_proxy import (
    CONFLICT,
    DONE_AND_INTERNAL,
    DROPPED,
    FALSE_PRECONDITION,
    FLIPPED_ANSWER,
    FLIPPED_REQUEST,
    INTERNAL,
    LOST_ANSWER,
    SLOW_DOWN,
    TRUNCATED,
    Fault,
    FaultProxy,
    hang,
)
from s3_servers import Service
from small_study import SmallStudy
from victims import Family

from orchestrator.schedule.ledger.database import NAME, Ledger
from orchestrator.store.protocol import Store

MACHINE = "machine, for good"
FAULTS: Mapping[str, tuple[Fault, str, str, int]] = {
    "answer lost": (LOST_ANSWER, "PUT", "", 4),
    "answer of a commit record lost": (LOST_ANSWER, "PUT", "commits/", 4),
    "conflict": (CONFLICT, "PUT", "commits/", 3),
    "false precondition": (FALSE_PRECONDITION, "PUT", "commits/", 2),
    "dropped": (DROPPED, "", "", 6),
    "done, and 500": (DONE_AND_INTERNAL, "PUT", "", 4),
    "500": (INTERNAL, "", "", 12),
    "503": (SLOW_DOWN, "", "", 40),
    "truncated": (TRUNCATED, "GET", "artifacts/", 3),
    "bit of an answer flipped": (FLIPPED_ANSWER, "GET", "artifacts/", 2),
    "bit of a request flipped": (FLIPPED_REQUEST, "PUT", "artifacts/", 2),
    "hang": (hang(5.0), "", "", 2),
}
"""What fails -> how, method and part of the path of the requests that do, and how many of them at most."""
SERVICE = "S3: "
"""Begins the name of a victim that is a request."""
REQUESTS = "requests fail"
"""How such a victim is killed: these are no kills."""
RESUMED = re.compile(r"going on after step \d+, from \S*/attempts/[0-9a-f]+/([^/]+)/")


class S3Round(Round):
    """A round of a study in a bucket, behind a proxy if requests are to fail."""

    def __init__(
        self,
        study: SmallStudy,
        reference: Proof,
        *,
        seed: int,
        kills: int,
        machines: bool,
        proxy: FaultProxy | None = None,
        first: tuple[tuple[str, int], ...] = (),
    ) -> None:
        """Prepare.

        Args:
            study: in an empty folder, with a bucket.
            reference: of the undisturbed run.
            seed: of all that is drawn.
            kills: planned, failing requests among them.
            machines: whether machines are lost.
            proxy: through which the study reaches the bucket.
            first: kills that come before those that are drawn.
        """
        weights = dict(WEIGHTS)
        if machines:
            weights |= {(MACHINE, KILL): 16.0}
        if proxy is not None:
            weights |= {(SERVICE + name, 0): 2.0 for name in FAULTS}
        super().__init__(study, reference, seed=seed, kills=kills, weights=weights, first=first)
        self._proxy = proxy
        self._others |= {MACHINE: self._lose_machine} if machines else {}
        if proxy is not None:
            self._others |= {SERVICE + name: partial(self._fail_requests, name) for name in FAULTS}

    def _lose_machine(self) -> str:
        """Kill all of it, once the bucket holds a checkpoint of a training that is not done."""
        assert self._driver is not None
        deadline, store = time.monotonic() + VICTIM_WITHIN_S, self._study.store
        while not checkpointed(store):
            if time.monotonic() > deadline or self._driver.poll() is not None:
                return ""
            time.sleep(0.2)
        self._family.end()
        self._driver.wait()
        self._study = self._study.on_another_machine()
        self._family = Family(self._study.home)
        return "SIGKILL"

    def _fail_requests(self, name: str) -> str:
        assert self._proxy is not None
        fault, method, key, most = FAULTS[name]
        self._proxy.fail(fault, method, key, times=self._random.randint(1, most))
        return REQUESTS

    def _swept(self) -> list[str]:
        if self._proxy is not None:
            self._proxy.clear()
        self._record.resumed = resumed_elsewhere(self._study)
        return [*left_in_bucket(self._study), *waited(self._study)]


def checkpointed(store: Store) -> bool:
    """Whether the bucket holds a complete checkpoint of a job that is not done."""
    assert store.checkpoints is not None
    return any(store.checkpoints.complete(job) for job in set(store.checkpoints.sizes()) - store.commits())


def resumed_elsewhere(study: SmallStudy) -> int:
    """How many attempts have resumed from a checkpoint of an attempt on another machine, as their logs say."""
    number = 0
    for folder in (*study.lost, study.folder):
        here = {path.parent.name for path in folder.glob("attempts/*/*/intent.json")}
        for path in folder.glob("attempts/*/*/log.txt"):
            number += any(name not in here for name in RESUMED.findall(path.read_text(errors="replace")))
    return number


def waited(study: SmallStudy) -> list[str]:
    """Whether a controller has waited for one that was dead, in words: a process of the same machine is seen."""
    outputs = (folder.parent / "output.txt" for folder in (*study.lost, study.folder))
    said = [path.read_text(errors="replace") for path in outputs if path.exists()]
    return (
        ["a controller has waited for a dead one"] if any("cannot be seen from here" in text for text in said) else []
    )


def left_in_bucket(study: SmallStudy) -> list[str]:
    """In words, what the bucket of a finished study holds too much once `gc` was there; empty for a store of files.

    What attempts on machines that are lost have uploaded stays for a week: nobody knows that they are not at it.
    """
    if study.bucket is None:
        return []
    done = study.call("gc", "--yes")
    found = [] if done.returncode == 0 else [f"`gc` ended with {done.returncode}: {done.stdout}{done.stderr}"]
    store = study.store
    assert store.checkpoints is not None and store.objects is not None
    committed = {store.read(fingerprint).attempt for fingerprint in store.commits()}
    lost = set()
    for folder in filter(lambda folder: (folder / NAME).exists(), study.lost):
        with Ledger.read(folder / NAME) as ledger:
            lost |= {attempt.id for attempt in ledger.attempts()}
    found += [f"{one.where} is left" for one in store.artifacts() if one.attempt not in committed | lost]
    found += [f"checkpoints of {job} are left" for job in store.checkpoints.sizes()]
    found += [f"{record.where} is left" for record in store.withdrawn()]
    numbers = {entry.key.partition(".")[0] for entry in store.objects.entries("lease/")}
    return found + ([f"claims are left: {sorted(numbers)}"] if len(numbers) > 1 else [])


def in_bucket(study: SmallStudy, service: Service, endpoint: str = "") -> SmallStudy:
    """The study, with its artifacts in a bucket of `service`; `endpoint`: of a proxy."""
    own = study.home.with_name(f"{study.home.name}-seen")
    return replace(study, bucket=service.location(own), endpoint=endpoint)
