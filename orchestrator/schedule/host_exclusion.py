"""Host exclusion: after two endings without progress that only the host explains, it gets no jobs for `avoid_s`.

Where all hosts are excluded, the rule does not apply. An ending counts against its host when it could be
the host's fault and nothing points elsewhere:

* It was `error`, `bad_input` (a mount that is missing on this host), `out_of_memory`, `timed_out`,
  `vanished` or `node_lost`, and the attempt got no further. `preempted`, `interrupted` and
  `cancelled` are decisions of users or schedulers.
* Its traceback was seen on no other host: what fails alike in two places is a bug.
* Its job has ended badly on no other host: a row that runs out of memory or kills its node
  everywhere excludes no host.

Of several hosts of one attempt, a bad ending counts against the one that failed first, if it is known, and a good one
for all of them.

Two such endings exclude the host if they are of different jobs or differ in traceback or ending: one job
that fails alike twice in one place says as much about the job. Attempts that ran at the same time and
ended `node_lost` or `vanished` are one incident and count once. Any attempt that ends well on the host
afterwards clears it.

Before that, a job that ended badly on a host is tried on another one first, where there is room.

Nothing of this is stored: it is computed from the ledger's attempts, so that a controller that starts
again, `status` and `explain` find the same. The ledger knows the wall clock only. An ending that
seems to lie in the future counts as of now, and from there the controller uses its monotonic clock,
so that a clock that jumped excludes no host for longer than `avoid_s`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import get_args

from orchestrator.backends.protocol import Ending
from orchestrator.schedule.events import RunEvents
from orchestrator.schedule.ledger.schema import Attempt
from orchestrator.schedule.retry_policy import can_be_host_fault, first_line, progressed

HOST_FAULTS = frozenset(ending for ending in get_args(Ending) if can_be_host_fault(ending))
"""Endings that can be a host's fault."""
LOST_WITH_HOST = frozenset({"vanished", "node_lost"})
"""Endings that one incident gives to all attempts of a host."""
ENDINGS_TO_EXCLUDE = 2
"""Endings that exclude a host."""


@dataclass(frozen=True, kw_only=True)
class HostEnding:
    """What an ended attempt says about its host."""

    host: str
    job: str
    """Fingerprint."""
    label: str
    ending: str
    """`ok`, or one of `HOST_FAULTS`."""
    signature: str
    detail: str
    began: float
    at: float
    """When it ended, like `began` in seconds of the clock of `now`."""


@dataclass(frozen=True, kw_only=True)
class ExcludedHost:
    """A host that gets no jobs for a while."""

    host: str
    since: float
    """Its newest bad ending."""
    until: float
    labels: tuple[str, ...]
    """Jobs that ended badly on it."""
    why: str
    """For people: the newest of those endings, in a line."""


def excluded_hosts(endings: Sequence[HostEnding], now: float, avoid_s: float) -> dict[str, ExcludedHost]:
    """Hosts that are excluded at `now`.

    Args:
        endings: oldest first, as they happened.
        now: in seconds of the clock of `endings`.
        avoid_s: seconds for which a host is excluded after its last bad ending; 0: never.
    """
    recent = [replace(one, at=min(one.at, now)) for one in endings]
    recent = [one for one in recent if now - one.at < avoid_s]
    bad = [one for one in recent if one.ending in HOST_FAULTS]
    hosts_of_trace, hosts_of_job = _hosts_by(bad)
    held: dict[str, list[HostEnding]] = {}
    for one in recent:
        if one.ending == "ok":
            held.pop(one.host, None)
        elif one.ending in HOST_FAULTS:
            bug = len(hosts_of_job[one.job]) > 1 or (one.signature and len(hosts_of_trace[one.signature]) > 1)
            before = held.get(one.host, [])
            if not (bug or _one_incident(before, one)):
                held[one.host] = [*before, one]
    return {
        host: ExcludedHost(
            host=host,
            since=found[-1].at,
            until=found[-1].at + avoid_s,
            labels=tuple(dict.fromkeys(one.label for one in found)),
            why=first_line(f"{found[-1].ending}: {found[-1].detail}" if found[-1].detail else found[-1].ending),
        )
        for host, found in held.items()
        if len({(one.job, one.signature or one.ending) for one in found}) >= ENDINGS_TO_EXCLUDE
    }


def excluded_by_attempts(attempts: Iterable[Attempt], at: float, avoid_s: float) -> list[ExcludedHost]:
    """Hosts that a run would exclude at `at`, seconds since 1970, by the ledger's attempts as they were recorded."""
    every = list(attempts)
    if not any(one.ending in HOST_FAULTS for one in every):
        return []
    return list(excluded_hosts(host_endings(every, at, at), at, avoid_s).values())


def host_endings(attempts: Iterable[Attempt], wall: float, now: float) -> list[HostEnding]:
    """What the ledger's attempts say, oldest first, on the clock of `now`.

    Args:
        attempts: in the order in which they were recorded.
        wall: seconds since 1970, now.
        now: the same moment on the clock that the result uses.
    """
    furthest: dict[str, int] = {}
    found: list[HostEnding] = []
    for attempt in attempts:
        before = furthest.get(attempt.fingerprint, -1)
        moved = progressed(attempt.step, attempt.begun, [before])
        furthest[attempt.fingerprint] = max(before, attempt.step)
        began = attempt.started if attempt.started is not None else attempt.intended
        if attempt.ended is not None and counts_for_host(attempt.ending, moved=moved):
            found += [
                HostEnding(
                    host=host,
                    job=attempt.fingerprint,
                    label=attempt.label,
                    ending=str(attempt.ending),
                    signature=attempt.signature,
                    detail=attempt.detail,
                    began=now - max(0.0, wall - began),
                    at=now - max(0.0, wall - attempt.ended),
                )
                for host in blamed(attempt.placement.hosts, attempt.ending, attempt.failed_on)
            ]
    return sorted(found, key=lambda one: one.at)


class HostExclusion:
    """The excluded hosts as a run keeps them, on its monotonic clock."""

    def __init__(self, avoid_s: float) -> None:
        self._avoid_s = avoid_s
        self._endings: list[HostEnding] = []
        self._suspects: set[str] = set()
        """Hosts on which anything ended badly of late."""
        self._bad: dict[str, set[str]] = {}
        self._found: dict[str, ExcludedHost] = {}
        self._fresh_until = float("-inf")
        self._reported: Mapping[str, ExcludedHost] = {}
        self._announced: set[str] = set()

    def load(self, endings: Iterable[HostEnding], now: float) -> None:
        """Begin with what happened before."""
        self._endings = []
        for one in endings:
            if now - one.at < self._avoid_s:
                self.add(one)
        self._fresh_until = float("-inf")

    def add(self, ended: HostEnding) -> None:
        """Take in an ending; good ones on a host without bad ones say nothing, and there may be very many of them."""
        if ended.ending == "ok" and ended.host not in self._suspects:
            return
        if ended.ending in HOST_FAULTS:
            self._suspects.add(ended.host)
        self._endings.append(ended)
        self._fresh_until = float("-inf")

    def hosts(self, now: float) -> Mapping[str, ExcludedHost]:
        """The excluded hosts; computed when something ended or ran out, and not every tick."""
        if now >= self._fresh_until:
            self._endings = [one for one in self._endings if now - one.at < self._avoid_s]
            self._found = excluded_hosts(self._endings, now, self._avoid_s)
            bad = [one for one in self._endings if one.ending in HOST_FAULTS]
            self._suspects = {one.host for one in bad}
            _, self._bad = _hosts_by(bad)
            self._fresh_until = min((one.at for one in self._endings), default=now) + self._avoid_s
        return self._found

    @property
    def any_bad(self) -> bool:
        """Whether anything ended badly of late."""
        return bool(self._bad)

    def tried(self, job: str) -> frozenset[str]:
        """Hosts on which a job (fingerprint) has ended badly of late: it is tried elsewhere first."""
        return frozenset(self._bad.get(job, ()))

    def report(self, events: RunEvents, now: float, *, has_choice: bool) -> None:
        """Log which hosts became excluded or usable again, and tell the user once where there is a choice of hosts."""
        before, self._reported = self._reported, self.hosts(now)
        for host, one in self._reported.items():
            if host not in before:
                events.log("host excluded", host=host, jobs=one.labels, why=one.why, seconds=round(one.until - now))
            if host not in self._announced and has_choice:
                self._announced.add(host)
                events.say(describe(one, now))
        for host in before:
            if host not in self._reported:
                self._announced.discard(host)
                events.log("host included again", host=host)


def counts_for_host(ending: str | None, *, moved: bool) -> bool:
    """Whether an ending says anything about its host; `moved`: the attempt got further than its job was before."""
    return ending == "ok" or (ending in HOST_FAULTS and not moved)


def blamed(hosts: Sequence[str], ending: str | None, failed_on: str) -> tuple[str, ...]:
    """Of the hosts of an attempt those for which its ending counts; `failed_on`: as in `Report`."""
    if len(hosts) > 1 and ending != "ok":
        hosts = (failed_on,)
    return tuple(host for host in hosts if host)  # a rebuilt ledger does not know them


def describe(one: ExcludedHost, now: float) -> str:
    """For people: `host gpu-3 is excluded for 59 min …`."""
    jobs = f"attempts of {len(one.labels)} jobs" if len(one.labels) > 1 else "attempts of a job"
    return (
        f"host {one.host} is excluded for {max(0.0, one.until - now) / 60:.0f} min while there are others: {jobs} "
        f"failed there ({', '.join(one.labels)}), last {one.why}"
    )


def _one_incident(before: Sequence[HostEnding], one: HostEnding) -> bool:
    """Whether the host lost this attempt together with one that is counted already."""
    return any(
        one.ending in LOST_WITH_HOST and other.ending in LOST_WITH_HOST and one.began < other.at for other in before
    )


def _hosts_by(bad: Iterable[HostEnding]) -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """Hosts by traceback and hosts by job."""
    of_trace: dict[str, set[str]] = {}
    of_job: dict[str, set[str]] = {}
    for one in bad:
        of_trace.setdefault(one.signature, set()).add(one.host)
        of_job.setdefault(one.job, set()).add(one.host)
    return of_trace, of_job
