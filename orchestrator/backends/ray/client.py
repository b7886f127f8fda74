"""The driver's side of the Ray backend: it speaks to a child process and imports no ray itself.

The child may die at any time (Ray ends it when its head dies). Then all attempts are `unknown` and a
new child is started. An embedded Ray dies with its child: its attempts end as `node_lost` once their
processes are gone. On a standing cluster the new child takes the same attempts up again.
"""

import contextlib
import os
import secrets
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.backends.plugin import BackendContext
from orchestrator.backends.protocol import Adoption, Autoscaling, HostShare, PlacingBackend, Report, Submission
from orchestrator.backends.ray.address import ClusterSilent
from orchestrator.backends.ray.attempts import KnownAttempts
from orchestrator.backends.ray.pipe import ChildGone, NoAnswer, Pipe
from orchestrator.backends.ray.restarts import Restarts
from orchestrator.backends.ray.session import sweep
from orchestrator.backends.ray.settings import MEMORY_SHARE, RaySettings, study_of
from orchestrator.errors import BackendError, SiteError
from orchestrator.host.children import python_command
from orchestrator.host.environment import RAY, passed, patterns_of_hosts
from orchestrator.host.machine import machine_cpus, machine_devices, machine_gib
from orchestrator.spec.cell import Resources
from orchestrator.store.location import StoreLocation
from orchestrator.wording import counted, last_line

OPEN_S = 180.0  # for Ray and its first host to start
ANSWER_S = 10.0
MAX_UNANSWERED = 8  # questions in a row without an answer until the child is given up


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
        self._restarts = Restarts()
        self._end_noted = False
        """The end of the child that died last was counted."""
        self._silence = ""
        """That the cluster did not answer when the last child ended, in words; empty: it ended for another reason."""
        self._unanswered = 0
        self._attempts = KnownAttempts()

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
            ClusterSilent: a standing cluster does not answer any more. BackendError: Ray does not start.
        """
        with self._lock:
            if self._reopening():
                if self._silence:
                    raise ClusterSilent(self._silence)
                return ()
            try:
                answer = self._request("hosts", waiting=self._waiting)
            except NoAnswer:
                if not self._was_opened:
                    raise
                self._count_unanswered()
                return ()
            except ClusterSilent:
                raise
            except BackendError:
                died = self._pipe is not None and not self._pipe.alive
                if died and self._was_opened and not self._restarts.given_up:
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
                self._attempts.track(Adoption.of(one, ticket))
            return tickets

    def adopt(self, attempts: Sequence[Adoption]) -> None:
        """Answer for attempts of an earlier driver on a standing cluster, or once it answers.

        Raises:
            BackendError: an embedded Ray ends with its controller, so there is nothing to adopt; or the child has died.
        """
        if not self.outlives_driver:
            raise BackendError(
                f"{counted(len(attempts), 'attempt')} cannot be adopted: an embedded Ray ends with its controller"
            )
        with self._lock:
            for one in attempts:
                self._attempts.track(one)
            with contextlib.suppress(ClusterSilent):  # the next child is told when it is opened
                self._request("adopt", attempts=[asdict(one) for one in attempts])

    def poll(self) -> Mapping[str, Report]:
        """What is known of all attempts; returns at once while a child that has died is replaced."""
        with self._lock:
            if not self._closed and self._pipe is not None and self._attempts.unfinished():
                self._update()
            return self._attempts.reports()

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
                self._let_go(self._pipe)
                self._pipe.close()
                self._pipe = None
                if not self.outlives_driver:
                    self._attempts.end_processes()
                    sweep()
            self._token_file.unlink(missing_ok=True)

    def _let_go(self, pipe: Pipe) -> None:
        """Tell hosts that outlive this driver what they need not report any more: they would keep their cpus for it.

        How it ended is in the study's folder.
        """
        forget = self._attempts.to_forget() if self.outlives_driver and pipe.opened and pipe.alive else []
        if forget:
            with contextlib.suppress(BackendError):  # they end by themselves, later
                pipe.request("poll", ANSWER_S, forget=forget)

    @property
    def _token_file(self) -> Path:
        return self._home / f".seen-{self._nonce}"

    def _reopening(self) -> bool:
        """Whether a child that takes another's place is still starting; one that died meanwhile is replaced."""
        if self._pipe is None or not self._was_opened:
            return False
        if not self._pipe.alive:
            self._replace()
        return self._pipe.alive and not self._pipe.opened

    def _update(self) -> None:
        """Bring the reports up to date. Never raises: what cannot be told is unknown."""
        self._attempts.end_lost()
        assert self._pipe is not None
        if not self._pipe.alive:
            self._replace()
            return
        if not self._pipe.opened:
            return
        try:
            answers = self._pipe.request("poll", ANSWER_S, forget=self._attempts.to_forget())
            self._unanswered = 0
        except ChildGone:
            self._replace()
            return
        except BackendError as error:
            self._count_unanswered()
            self._attempts.mark_unknown(f"the Ray child does not answer: {error}")
            return
        self._attempts.take(answers)

    def _replace(self) -> None:
        """Start another child after one has died, when it is time."""
        assert self._pipe is not None
        if not self._end_noted:
            self._end_noted = True
            self._note_end(self._pipe)
        if self._restarts.may_start(time.monotonic()):
            self._start()

    def _note_end(self, pipe: Pipe) -> None:
        """Count the end of a child; what an embedded Ray ran is lost with it."""
        stderr, self._silence = pipe.stderr_tail(), pipe.silence
        rejoins = self.outlives_driver and self._was_opened and not pipe.opened
        if rejoins and not self._silence and not pipe.refusal:  # Ray has ended it, as it does when a head is starting
            self._silence = f"the Ray cluster cannot be joined again: {last_line(stderr) or 'its client has died'}"
        pipe.close()
        self._restarts.ended(time.monotonic(), opened=pipe.opened, silent=bool(self._silence))
        self._attempts.mark_unknown(self._silence or "the Ray child died")
        if self._restarts.given_up:
            self._attempts.mark_unknown(f"Ray does not start any more: {stderr}")
        if not self.outlives_driver:
            self._attempts.lose()
        self._unanswered = 0

    def _count_unanswered(self) -> None:
        """One more question without an answer; a child that answers none is given up."""
        self._unanswered += 1
        if self._unanswered >= MAX_UNANSWERED and self._pipe is not None:
            self._pipe.kill()

    def _start(self) -> None:
        self._end_noted = False
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
        adopted = list(self._attempts.adoptions.values()) if self.outlives_driver else []
        self._pipe.open(settings=settings, adopt=adopted)
        for op in ("stop", "kill"):
            if again := self._attempts.to_end(op):
                self._pipe.notify(op, attempts=again)

    def _request(self, op: str, **fields: Any) -> Any:
        """Ask the child, which is started if there is none, and wait for its answer.

        Raises:
            ChildGone: it died over this. SiteError: with these settings it cannot start.
            ClusterSilent: it waits for its cluster. BackendError: it does not start, or refused.
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
                refusal, last_words = self._pipe.refusal, self._last_words(error)
                why = refusal or self._pipe.silence
                if why and not self._was_opened and not self._attempts.adoptions:
                    raise SiteError(why) from error  # nothing was started, and the settings are to be changed
                if refusal:
                    raise BackendError(refusal) from error
                self._replace()
                if self._silence:
                    raise ClusterSilent(self._silence) from error
                if self._restarts.given_up:
                    raise BackendError(last_words) from error
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
            wanted = self._attempts.request_end(op, attempts)
            if wanted and self._pipe is not None and self._pipe.alive:
                self._pipe.notify(op, attempts=wanted)


if TYPE_CHECKING:
    _ray = RayBackend(BackendContext(home=Path(), store=StoreLocation(folder="")), RaySettings())
    _placing: PlacingBackend = _ray
    _autoscaling: Autoscaling = _ray
