"""The fake backend: it runs nothing; attempts take scripted time and end as scripted.

`--cluster` with `backend: fake` rehearses a whole study in seconds, the simulator measures the
placement policy on it, and it passes the contract suite of all backends. It publishes a few
deterministic bytes through the real store. Time comes from the caller's clock.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from orchestrator.backends.protocol import Adoption, Ending, HostShare, PlacingBackend, Report, Submission
from orchestrator.errors import BackendError
from orchestrator.store.lineage import made_in, of_own
from orchestrator.store.protocol import Commit, Store
from workloads.contract.result import Failure, Result

Script = Ending | Literal["unknown", "missing", "unpublished"]
"""How an attempt goes: an ending; for ever `unknown`; never heard of (`missing`); `ok` without a COMMIT."""

STEPS = 10
"""Steps of every fake job: progress and checkpoints are counted in them."""


@dataclass(frozen=True, kw_only=True)
class Act:
    """What one attempt does."""

    script: Script = "ok"
    seconds: float | None = None
    """Until it ends; None: as long as all the others."""
    reaches: int = 0
    """Step of the checkpoint it leaves when it does not end well; 0: none."""
    error: Failure | None = None
    """Written into result.json where it ends with an error."""
    failed_on: str = ""
    """Where it does not end well: the host of several that it is to be charged to."""
    requeued: bool = False
    """When it has ended, the backend starts the job again by itself, as another attempt."""


@dataclass
class FakeAttempt:
    """An attempt that the fake pretends to run."""

    submission: Submission
    act: Act
    started: float
    until: float
    ended: float | None = None
    ending: Ending | None = None
    detail: str = ""
    successor: str | None = None
    counter: int = field(default=0)


@dataclass
class FakeCluster:
    """What goes on without a driver: two fake backends that share one are two drivers' views of the same cluster."""

    acts: dict[str, int] = field(default_factory=dict)
    """Label -> attempts so far."""
    attempts: dict[str, FakeAttempt] = field(default_factory=dict)
    open: dict[str, FakeAttempt] = field(default_factory=dict)
    """Those that have not ended, as far as anybody has looked."""


class FakeBackend:
    """Attempts by script, on hosts that are only numbers.

    With a `cluster` it outlives drivers: attempts go on after `close`, and the next one adopts them.
    `script` maps a job's label to what its attempts do, in order; the last entry is repeated, and
    labels that are not named end well.
    """

    name = "fake"

    def __init__(
        self,
        *,
        store: Store,
        now: Callable[[], float],
        hosts: Sequence[HostShare] = (HostShare(name="fake-0", cpus=2, devices=0, memory_gib=64.0),),
        seconds: float = 1.0,
        script: Mapping[str, Sequence[Act]] | None = None,
        cluster: FakeCluster | None = None,
    ) -> None:
        self.outlives_driver = cluster is not None
        self._cluster = cluster or FakeCluster()
        self._store = store
        self._now = now
        self._hosts = tuple(hosts)
        self._seconds = seconds
        self._script = dict(script or {})
        self._mine: set[str] = set()
        self._answers: dict[str, Report] = {}
        self._closed = False
        self.submitted: list[Submission] = []
        """All that was ever submitted, oldest first."""

    def hosts(self) -> Sequence[HostShare]:
        """The hosts it was given."""
        return self._hosts

    def submit(self, submissions: Sequence[Submission]) -> Mapping[str, str]:
        """Pretend to start attempts.

        Raises:
            BackendError: it is closed, a host is unknown, or an attempt was submitted before.
        """
        if self._closed:
            raise BackendError("the fake backend is closed; make a new one")
        names = {host.name for host in self._hosts}
        for submission in submissions:
            for host in submission.placement.hosts:
                if host not in names:
                    raise BackendError(
                        f"attempt {submission.attempt!r} is placed on host {host!r}; "
                        f"there are {', '.join(map(repr, sorted(names)))}"
                    )
            if submission.attempt in self._cluster.attempts:
                raise BackendError(f"attempt {submission.attempt!r} was submitted before; every try has its own id")
        now = self._now()
        for submission in submissions:
            act = self._next_act(submission.label)
            length = self._seconds if act.seconds is None else act.seconds
            running = FakeAttempt(submission=submission, act=act, started=now, until=now + length)
            self._cluster.attempts[submission.attempt] = self._cluster.open[submission.attempt] = running
            self._mine.add(submission.attempt)
            self.submitted.append(submission)
        return {submission.attempt: f"fake:{submission.attempt}" for submission in submissions}

    def adopt(self, attempts: Sequence[Adoption]) -> None:
        """Answer for attempts of an earlier instance too."""
        for one in attempts:
            running = self._cluster.attempts.get(one.attempt)
            if running is None:
                self._answers[one.attempt] = Report(attempt=one.attempt, phase="missing")
            else:
                self._mine.add(one.attempt)
                self._answers[one.attempt] = self._report(running, self._now())

    def poll(self) -> Mapping[str, Report]:
        """What became of all attempts by now."""
        now = self._now()
        for attempt, running in list(self._cluster.open.items()):
            if running.ending is None and now >= running.until:
                self._finish(running, now)
            if attempt in self._mine:
                self._answers[attempt] = self._report(running, now)
            if running.ending is not None:
                del self._cluster.open[attempt]
        return dict(self._answers)

    def stop(self, attempts: Sequence[str]) -> None:
        """Attempts save a checkpoint at the step they have reached, and end as interrupted."""
        now = self._now()
        for attempt in attempts:
            running = self._cluster.open.get(attempt)
            if running is not None and running.ending is None:
                self._checkpoint(running, self._step(running, now))
                self._end(running, "interrupted", now, "stopped at a checkpoint because asked")

    def kill(self, attempts: Sequence[str]) -> None:
        """Attempts end at once."""
        for attempt in attempts:
            running = self._cluster.open.get(attempt)
            if running is not None and running.ending is None:
                self._end(running, "interrupted", self._now(), "killed by the controller")

    def close(self) -> None:
        """End what runs, unless it outlives drivers; idempotent."""
        self._closed = True
        if not self.outlives_driver:
            self.kill(list(self._cluster.open))

    def _next_act(self, label: str) -> Act:
        acts = self._script.get(label)
        if not acts:
            return Act()
        number = self._cluster.acts.get(label, 0)
        self._cluster.acts[label] = number + 1
        return acts[min(number, len(acts) - 1)]

    def _report(self, running: FakeAttempt, now: float) -> Report:
        attempt = running.submission.attempt
        if running.ending is not None:
            return Report(
                attempt=attempt,
                phase="ended",
                ending=running.ending,
                detail=running.detail,
                started=running.started,
                ended=running.ended,
                successor=running.successor,
                failed_on="" if running.ending == "ok" else running.act.failed_on,
            )
        if running.act.script in ("unknown", "missing") and now >= running.until:
            return Report(attempt=attempt, phase="unknown" if running.act.script == "unknown" else "missing")
        running.counter += 1
        beat = {"counter": running.counter, "step": self._step(running, now), "of": STEPS, "phase": "pretending"}
        return Report(attempt=attempt, phase="running", heartbeat=beat, started=running.started)

    def _step(self, running: FakeAttempt, now: float) -> int:
        length = max(running.until - running.started, 1e-9)
        return max(0, min(STEPS - 1, int(STEPS * (now - running.started) / length)))

    def _finish(self, running: FakeAttempt, now: float) -> None:
        script = running.act.script
        if script == "unknown" or script == "missing":
            return
        if script == "ok":
            self._publish(running, now)
        if script == "ok" or script == "unpublished":
            self._end(running, "ok", now, "")
            return
        self._checkpoint(running, running.act.reaches)
        failure = running.act.error
        if failure is not None:
            Result(ending="error", error=failure, steps=running.act.reaches).write(self._work(running) / "result.json")
        self._end(running, script, now, f"as scripted: {script}")
        if running.act.requeued:
            self._requeue(running, now)

    def _requeue(self, running: FakeAttempt, now: float) -> None:
        before = running.submission
        base, _, count = before.attempt.partition(".r")
        attempt = f"{base}.r{int(count or 0) + 1}"
        work = str(Path(before.request["work"]).with_name(attempt))
        request = {**before.request, "attempt": attempt, "work": work}
        act = self._next_act(before.label)
        length = self._seconds if act.seconds is None else act.seconds
        submission = replace(before, attempt=attempt, request=request)
        again = FakeAttempt(submission=submission, act=act, started=now, until=now + length)
        self._cluster.attempts[attempt] = self._cluster.open[attempt] = again
        self._mine.add(attempt)
        running.successor = attempt

    def _end(self, running: FakeAttempt, ending: Ending, now: float, detail: str) -> None:
        running.ending, running.ended, running.detail = ending, now, detail

    def _work(self, running: FakeAttempt) -> Path:
        work = Path(running.submission.request["work"])
        work.mkdir(parents=True, exist_ok=True)
        return work

    def _checkpoint(self, running: FakeAttempt, step: int) -> None:
        if step <= 0:
            return
        folder = self._work(running) / "checkpoints" / f"step-{step}"
        folder.mkdir(parents=True, exist_ok=True)
        content = f"step {step}".encode()
        (folder / "state.bin").write_bytes(content)
        line = {"path": "state.bin", "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        (folder / "manifest.json").write_text(json.dumps({"step": step, "files": [line]}), encoding="utf-8")

    def _publish(self, running: FakeAttempt, now: float) -> None:
        submission = running.submission
        request = submission.request
        fingerprint, stage = str(request["fingerprint"]), str(request["stage"])
        folder = self._store.prepare(stage, fingerprint, submission.attempt)
        (folder / "fake.txt").write_text(f"{stage} {fingerprint}\n", encoding="utf-8")
        taken = {one: self._store.read(one) for one in submission.taken}
        commit = Commit(
            fingerprint=fingerprint,
            attempt=submission.attempt,
            stage=stage,
            branch=request["branch"],
            job=submission.job,
            label=submission.label,
            manifest="",
            inputs=self._inputs(submission.inputs),
            code="fake",
            git="",
            versions={},
            host_kind="fake",
            started=running.started,
            ended=now,
            result={"steps": STEPS, "records": {}, "cost": {}},
            items=submission.items,
            measured=submission.measured,
            taken={one: record.manifest for one, record in taken.items()},
            origins=of_own(
                {
                    item: manifest
                    for one, record in taken.items()
                    for item, manifest in made_in(record, submission.taken[one]["items"]).items()
                },
                submission.items,
            ),
        )
        self._store.commit(commit, folder)

    def _inputs(self, inputs: Mapping[str, str]) -> dict[str, dict[str, Any]]:
        return {
            stage: {"fingerprint": fingerprint, "manifest": self._store.read(fingerprint).manifest}
            for stage, fingerprint in inputs.items()
        }


if TYPE_CHECKING:
    _: PlacingBackend = FakeBackend(store=None, now=None)  # type: ignore[arg-type]
