"""The driver's side of the Ray backend: it speaks to a child process and imports no ray itself.

The child may die at any time (Ray ends it when its head dies). Then all attempts are `unknown` and a
new child is started. An embedded Ray dies with its child: its attempts end as `node_lost` once their
processes are gone. On a standing cluster the new child takes the same attempts up again.
"""

import os
import secrets
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.backends.plugin import BackendContext
from orchestrator.backends.protocol import Adoption, Autoscaling, HostShare, PlacingBackend, Report, Submission
from orchestrator.backends.ray.lost import CONFIRM_DEATH_S, ended_report
from orchestrator.backends.ray.pipe import ChildGone, NoAnswer, Pipe
from orchestrator.backends.ray.session import sweep
from orchestrator.backends.ray.settings import MEMORY_SHARE, RaySettings, study_of
from orchestrator.errors import BackendError, SiteError
from orchestrator.host.children import python_command
from orchestrator.host.environment import RAY, passed, patterns_of_hosts
from orchestrator.host.machine import machine_cpus, machine_devices, machine_gib
from orchestrator.host.processes import end_leftovers
from orchestrator.spec.cell import Resources
from orchestrator.store.location import StoreLocation
from orchestrator.wording import counted

OPEN_S = 180.0  # for Ray and its first host to start
ANSWER_S = 10.0
MAX_UNANSWERED = 8  # questions in a row without an answer until the child is given up
STARTS = 3  # in a row that may fail


class RayBackend:
    """Attempts on Ray, embedded (`address: local`) or on a cluster that is there."""

    name = "ray"

    def __init__(self, context: BackendContext, ray: RaySettings) -> None:
        """Remember the settings; the child is started by the first call that needs it."""
        host = context.host_description()
        self._code = Path(host["code"])
        self._variables = patterns_of_hosts(host)
        devices = machine_devices() if ray.devices is None else ray.devices
        self._settings = {
            "address": ray.address,
            "cpus": machine_cpus() if ray.cpus is None else ray.cpus,
            "devices": devices if context.needs_devices else 0,
            "memory_gib": machine_gib() * MEMORY_SHARE if ray.memory_gib is None else ray.memory_gib,
            **host,
            "python": sys.executable,
            "scratch": ray.scratch or "",
            "scratch_gib": ray.scratch_gib,
            "study": study_of(context.home),
            "orphan_s": context.orphan_s,
            "idle_s": context.idle_s,
            "node_types": {name: asdict(one) for name, one in ray.node_types.items()},
        }
        self._waiting: list[dict[str, Any]] = []
        """What ready jobs need that have no place."""
        self._requested = ""
        self._home = context.home.resolve()
        self.outlives_driver = not ray.embedded
        self._lock = threading.Lock()
        self._pipe: Pipe | None = None
        self._closed = False
        self._was_opened = False
        """Whether any child has ever started Ray."""
        self._nonce = secrets.token_hex(8)
        self._failed_starts = 0
        self._unanswered = 0
        self._reports: dict[str, Report] = {}
        self._work: dict[str, Path] = {}
        self._adoptions: dict[str, dict[str, Any]] = {}
        """What another child needs to take an attempt up: `Adoption` as JSON."""
        self._ended_reported: list[str] = []
        """Attempts whose end we have passed on; the next poll shows that the driver has recorded it."""
        self._forget: list[str] = []
        """Attempts whose end the driver has recorded: the hosts need not repeat it."""
        self._end_requested: dict[str, str] = {}
        """Attempt -> `stop` or `kill`, where its end was asked for: a child that has died may not have passed it on."""
        self._lost: dict[str, float] = {}
        """Attempts of a session that has died -> monotonic clock, s."""

    def waiting_for_room(self, jobs: Mapping[tuple[str, Resources], int]) -> None:
        """Take what waits to the autoscaler with the next `hosts`; where nothing does, ask it for nothing at once."""
        needs: Counter[tuple[int, int, float, int]] = Counter()
        for (_, one), number in jobs.items():
            needs[one.cpus, one.devices, one.memory_gib, one.nodes or 1] += number
        with self._lock:
            before, self._waiting = self._waiting, [{"need": need, "number": needs[need]} for need in needs]
            if before and not needs:
                self._requested = ""
                if self._pipe is not None and self._pipe.alive and self._pipe.opened:
                    self._pipe.notify("withdraw")

    def pending_hosts(self) -> str:
        """What the autoscaler was asked for and has not added yet."""
        return self._requested

    def hosts(self) -> Sequence[HostShare]:
        """The hosts that can take attempts now; the first call starts Ray, some 10 s. None while Ray is started again.

        Raises:
            BackendError: Ray does not start.
        """
        with self._lock:
            if self._reopening():
                return ()
            try:
                answer = self._request("hosts", waiting=self._waiting)
            except NoAnswer:
                if not self._was_opened:
                    raise
                self._count_unanswered()
                return ()
            except BackendError:
                died = self._pipe is not None and not self._pipe.alive
                if died and self._was_opened and self._failed_starts < STARTS:
                    return ()  # the next call starts another
                raise
            self._unanswered = 0
            self._requested = answer["requested"]
            return tuple(HostShare(**share) for share in answer["hosts"])

    def submit(self, submissions: Sequence[Submission]) -> Mapping[str, str]:
        """Start attempts; attempt -> ticket, `{session}/{host}/{attempt}`.

        A ticket is empty where the child died before it answered and its hosts live on: the next child asks them.

        Raises:
            BackendError: an unknown host, or a child that has died: nothing runs on.
        """
        with self._lock:
            try:
                tickets: Mapping[str, str] = self._request("submit", submissions=[asdict(one) for one in submissions])
            except NoAnswer:
                self._count_unanswered()
                if self._pipe is not None:  # should it still follow, it follows this too
                    self._pipe.notify("kill", attempts=[one.attempt for one in submissions])
                raise
            except ChildGone:
                if not self.outlives_driver:
                    raise
                tickets = {one.attempt: "" for one in submissions}
            for one in submissions:
                ticket = tickets[one.attempt]
                self._track(Adoption.of(one, ticket))
            return tickets

    def adopt(self, attempts: Sequence[Adoption]) -> None:
        """Answer for attempts of an earlier driver on a standing cluster.

        Raises:
            BackendError: an embedded Ray ends with its controller, so there is nothing to adopt; or the child has died.
        """
        if not self.outlives_driver:
            raise BackendError(
                f"{counted(len(attempts), 'attempt')} cannot be adopted: an embedded Ray ends with its controller"
            )
        with self._lock:
            for one in attempts:
                self._track(one)
            self._request("adopt", attempts=[asdict(one) for one in attempts])

    def poll(self) -> Mapping[str, Report]:
        """What is known of all attempts; returns at once while a child that has died is replaced."""
        with self._lock:
            if not self._closed and self._pipe is not None and self._unfinished():
                self._update()
            return dict(self._reports)

    def stop(self, attempts: Sequence[str]) -> None:
        """Ask attempts to save a checkpoint and end."""
        self._request_end("stop", attempts)

    def kill(self, attempts: Sequence[str]) -> None:
        """End attempts at once."""
        self._request_end("kill", attempts)

    def close(self) -> None:
        """End Ray and everything it runs; idempotent."""
        with self._lock:
            self._closed = True
            if self._pipe is not None:
                self._pipe.close()
                self._pipe = None
                if not self.outlives_driver:
                    for attempt in self._unfinished():
                        end_leftovers(self._work[attempt])
                    sweep()
            self._token_file.unlink(missing_ok=True)

    @property
    def _token_file(self) -> Path:
        return self._home / f".seen-{self._nonce}"

    def _track(self, adoption: Adoption) -> None:
        self._reports[adoption.attempt] = Report(attempt=adoption.attempt, phase="waiting")
        self._work[adoption.attempt] = Path(adoption.work)
        self._adoptions[adoption.attempt] = asdict(adoption)

    def _reopening(self) -> bool:
        """Whether a child that takes another's place is still starting; one that died meanwhile is replaced."""
        if self._pipe is None or not self._was_opened:
            return False
        if not self._pipe.alive:
            self._replace()
        return self._pipe.alive and not self._pipe.opened

    def _unfinished(self) -> list[str]:
        return [attempt for attempt, report in self._reports.items() if report.phase != "ended"]

    def _update(self) -> None:
        """Bring the reports up to date. Never raises: what cannot be told is unknown."""
        self._end_lost()
        assert self._pipe is not None
        if not self._pipe.alive:
            self._replace()
            return
        if not self._pipe.opened:
            return
        self._forget += self._ended_reported
        self._ended_reported = []
        try:
            answers = self._pipe.request("poll", ANSWER_S, forget=self._forget)
            self._unanswered = 0
        except ChildGone:
            self._replace()
            return
        except BackendError as error:
            self._count_unanswered()
            self._mark_unknown(f"the Ray child does not answer: {error}")
            return
        self._forget = []
        for attempt, answer in answers.items():
            if attempt in self._reports and attempt not in self._lost and self._reports[attempt].phase != "ended":
                self._reports[attempt] = Report(**answer)
                if answer["phase"] == "ended":
                    self._ended_reported.append(attempt)
                    del self._adoptions[attempt]

    def _replace(self) -> None:
        """Start another child after one has died; what an embedded Ray ran is lost with it."""
        assert self._pipe is not None
        was_opened, stderr = self._pipe.opened, self._pipe.stderr_tail()
        self._pipe.close()
        self._failed_starts = 0 if was_opened else self._failed_starts + 1
        self._mark_unknown("the Ray child died")
        if not self.outlives_driver:
            for attempt in self._unfinished():
                self._lost.setdefault(attempt, time.monotonic())
            self._forget = []
        self._unanswered = 0
        if self._failed_starts < STARTS:
            self._start()
        else:
            self._mark_unknown(f"Ray does not start any more: {stderr}")

    def _count_unanswered(self) -> None:
        """One more question without an answer; a child that answers none is given up."""
        self._unanswered += 1
        if self._unanswered >= MAX_UNANSWERED and self._pipe is not None:
            self._pipe.kill()

    def _mark_unknown(self, detail: str) -> None:
        for attempt in self._unfinished():
            self._reports[attempt] = replace(self._reports[attempt], phase="unknown", detail=detail)

    def _end_lost(self) -> None:
        """End the attempts of a dead session whose processes are proven gone."""
        for attempt, since in list(self._lost.items()):
            known = ended_report(attempt, self._work[attempt])
            if known is not None:
                del self._lost[attempt]
                self._reports[attempt] = Report(**known)
            elif time.monotonic() - since > CONFIRM_DEATH_S and end_leftovers(self._work[attempt]):
                del self._lost[attempt]
                self._reports[attempt] = replace(
                    self._reports[attempt],
                    phase="ended",
                    ending="node_lost",
                    detail="the Ray session died with its child process",
                    ended=time.time(),
                )

    def _start(self) -> None:
        settings = dict(self._settings)
        if self.outlives_driver:
            self._token_file.write_text(self._nonce, encoding="ascii")
            settings["token"] = {"path": str(self._token_file), "content": self._nonce}
        self._pipe = Pipe(
            python_command("orchestrator.backends.ray", settings["address"]),
            folder=self._code,
            # An embedded Ray hands its environment down to its hosts; the nodes of a standing one have their own.
            environment=passed(os.environ, RAY if self.outlives_driver else (*RAY, *self._variables)),
        )
        self._pipe.open(settings=settings, adopt=list(self._adoptions.values()) if self.outlives_driver else [])
        for op in ("stop", "kill"):
            again = [attempt for attempt in self._unfinished() if self._end_requested.get(attempt) == op]
            if again:
                self._pipe.notify(op, attempts=again)

    def _request(self, op: str, **fields: Any) -> Any:
        """Ask the child, which is started if there is none, and wait for its answer.

        Raises:
            ChildGone: it died over this. SiteError: with these settings it cannot start.
            BackendError: it does not start, or refused.
        """
        if self._closed:
            raise BackendError("the Ray backend is closed; make another one")
        if self._pipe is None:
            self._start()
        assert self._pipe is not None
        if not self._pipe.alive:
            self._replace()
        while True:
            try:
                self._pipe.wait_open(OPEN_S)
                break
            except ChildGone as error:  # something of it was killed while it started: that may go better
                refusal = self._pipe.refusal
                if refusal and not self._was_opened and not self._adoptions:
                    raise SiteError(refusal) from error  # nothing was started, and the settings are to be changed
                if refusal or self._failed_starts + 1 >= STARTS:
                    raise BackendError(refusal or self._last_words(error)) from error
                self._replace()
        try:
            self._was_opened = True
            return self._pipe.request(op, ANSWER_S, **fields)
        except ChildGone as error:
            raise ChildGone(self._last_words(error)) from error

    def _last_words(self, error: BackendError) -> str:
        said = "" if self._pipe is None else self._pipe.stderr_tail()
        return f"{error}; what it said: {said or 'nothing'}"

    def _request_end(self, op: str, attempts: Sequence[str]) -> None:
        with self._lock:
            wanted = [attempt for attempt in attempts if attempt in set(self._unfinished()) - set(self._lost)]
            self._end_requested.update(dict.fromkeys(wanted, op))
            if wanted and self._pipe is not None and self._pipe.alive:
                self._pipe.notify(op, attempts=wanted)


if TYPE_CHECKING:
    _ray = RayBackend(BackendContext(home=Path(), store=StoreLocation(folder="")), RaySettings())
    _placing: PlacingBackend = _ray
    _autoscaling: Autoscaling = _ray
