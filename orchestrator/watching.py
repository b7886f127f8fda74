"""`status --watch`: a run as it goes, seen from another terminal. Plan, ledger and attempt folders, read only.

It ends when the driver has ended, with the exit code that the run has: 0 all that it was asked for
is done, 1 something is not.
"""

import json
import os
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from orchestrator.host.processes import boot_id
from orchestrator.plan.job import Standing
from orchestrator.plan.select import select
from orchestrator.plan.show import counts
from orchestrator.schedule.clock import Clock, SystemClock
from orchestrator.schedule.lease import LeaseHolder, LeaseWatcher
from orchestrator.schedule.ledger.database import NAME, Attempt, Ledger
from orchestrator.study import Study
from orchestrator.ui.progress import MOST_LINES, clock_words
from workloads.contract.metrics import read_beat

EVERY_S = 2.0


@dataclass(frozen=True, kw_only=True)
class Running:
    """An attempt that runs."""

    label: str
    attempt: str
    host: str
    phase: str
    step: int
    of: int
    """0: not known."""
    elapsed_s: float
    eta_s: float | None
    """Until this attempt ends, at the pace so far; None: nothing to tell from."""


@dataclass(frozen=True, kw_only=True)
class Drives:
    """Who drives."""

    pid: int
    host: str
    since: float | None
    """Seconds since 1970; None where another machine drives."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """Where a run is."""

    study: str
    profile: str
    driver: Drives | None
    """None: nobody drives the study."""
    counts: Mapping[str, int]
    running: Sequence[Running]
    failed: Mapping[str, str]
    """Label -> reason."""
    all_done: bool
    """Whether all that the last run was asked for is done."""

    def as_json(self) -> dict[str, Any]:
        """One line of `status --watch --json`."""
        return {"version": 1, **asdict(self)}


class Screen(Protocol):
    """Where looks are shown."""

    def show(self, look: Look) -> None:
        """Show one look."""

    def close(self) -> None:
        """The last look was shown."""


def watch(study: Study, selected: Collection[str], screen: Screen, clock: Clock | None = None) -> int:
    """Show the study until nobody drives it; the exit code that its run has.

    Args:
        study: opened.
        selected: ids of the jobs that the run was asked for.
        screen: shows.
        clock: the machine's by default.
    """
    clock = clock or SystemClock()
    onlooker = LeaseWatcher(study.home, clock)
    try:
        while True:
            # Asked before the look: what a driver books at its very end is seen by the look that follows.
            drives = _drives(onlooker.holder())
            look = look_at(study, selected, drives)
            screen.show(look)
            if drives is None:
                return 0 if look.all_done else 1
            clock.sleep(EVERY_S)
    finally:
        screen.close()


def selected_last(study: Study) -> frozenset[str]:
    """Ids of the jobs that the last run was asked for; all of the plan where that is not known."""
    with Ledger.read(study.home / NAME) as ledger:
        last = ledger.last_plan()
    if last is None or (last.profile, last.overrides) != (study.plan.profile, study.plan.overrides):
        return frozenset(study.plan.jobs)
    chosen = last.selection
    return select(study.plan, chosen.get("rows"), chosen.get("seeds"), chosen.get("branches"))


def look_at(study: Study, selected: Collection[str], drives: Drives | None) -> Look:
    """Where the run is now."""
    standing, attempts = study.look(), study.attempts()
    asked = {job_id: standing[job_id] for job_id in study.plan.jobs if job_id in selected}
    jobs = study.plan.jobs
    return Look(
        study=study.plan.study,
        profile=study.plan.profile,
        driver=drives,
        counts=counts(asked),
        running=[
            _running(study, jobs[job_id].label, now, attempts[jobs[job_id].fingerprint][-1])
            for job_id, now in asked.items()
            if now.state in ("running", "waiting", "unknown") and jobs[job_id].fingerprint in attempts
        ],
        failed={jobs[job_id].label: now.reason for job_id, now in asked.items() if now.state == "failed"},
        all_done=all(now.state == "done" for now in asked.values()),
    )


def _drives(holder: LeaseHolder | None) -> Drives | None:
    return None if holder is None else Drives(pid=holder.pid, host=holder.host, since=_since(holder))


def _since(driver: LeaseHolder) -> float | None:
    """When a driver's process was started, seconds since 1970; None on another boot."""
    if driver.boot_id != boot_id():
        return None
    lines = Path("/proc/stat").read_text(encoding="ascii").splitlines()
    booted = next(int(line.split()[1]) for line in lines if line.startswith("btime "))
    return booted + driver.start_time / os.sysconf("SC_CLK_TCK")


def _running(study: Study, label: str, now: Standing, attempt: Attempt) -> Running:
    step, of, phase = 0, 0, str(now.state)
    beat = read_beat(study.folder_of(attempt))
    if beat is not None:  # else it has not begun to beat
        step, of = beat["step"], beat["of"]
        phase = beat["phase"] if now.state == "running" else phase
    elapsed = max(0.0, time.time() - (attempt.started or attempt.intended))
    covered, left = step - max(0, attempt.begun), of - step
    eta = elapsed / covered * left if attempt.started and covered > 0 and left >= 0 else None
    return Running(
        label=label,
        attempt=attempt.id,
        host=attempt.host,
        phase=phase,
        step=step,
        of=of,
        elapsed_s=round(elapsed, 1),
        eta_s=None if eta is None else round(eta, 1),
    )


# Screens


def headline(look: Look) -> str:
    """Study, counts, and who drives."""
    words = ", ".join(f"{number} {state}" for state, number in look.counts.items())
    return f"{look.study} · {look.profile} · {words} · {driver_words(look.driver)}"


def driver_words(drives: Drives | None) -> str:
    """Who drives, and since when."""
    if drives is None:
        return "nobody drives"
    since = "" if drives.since is None else f" since {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(drives.since))}"
    return f"driven by pid {drives.pid} on {drives.host}{since}"


def line_of(running: Running, width: int) -> str:
    """A running job in one line."""
    steps = f"{running.step}/{running.of}" if running.of else "-"
    eta = "" if running.eta_s is None else f", about {clock_words(running.eta_s)} to go"
    return f"  {running.label:<{width}}  {steps:>11}  {running.phase:<12}  {clock_words(running.elapsed_s)}{eta}"


class JsonScreen:
    """One JSON object a line, when something has changed."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._before: Any = None

    def show(self, look: Look) -> None:
        """Write a line if anything but the clock has changed."""
        found = look.as_json()
        same = {**found, "running": [{**one, "elapsed_s": 0, "eta_s": 0} for one in found["running"]]}
        if same != self._before:
            self._before = same
            self._out.write(json.dumps(found) + "\n")
            self._out.flush()

    def close(self) -> None:
        """Nothing."""


class PlainScreen:
    """A line when counts or the driver change, and one for each job that starts or fails."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._head = ""
        self._known: set[str] = set()

    def show(self, look: Look) -> None:
        """Write what is new."""
        lines = [headline(look)] if headline(look) != self._head else []
        self._head = headline(look)
        for running in look.running:
            if running.attempt not in self._known:
                self._known.add(running.attempt)
                lines.append(f"  running {running.label} ({running.attempt}) on {running.host}")
        lines += _new_failures(look, self._known)
        if lines:
            self._out.write("\n".join(lines) + "\n")
            self._out.flush()

    def close(self) -> None:
        """Nothing."""


class LiveScreen:
    """Drawn anew each time, at most the terminal's height; failures go above it, once."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._known: set[str] = set()
        self._live = Live(console=console, auto_refresh=False)
        self._live.start()

    def show(self, look: Look) -> None:
        """Draw."""
        for line in _new_failures(look, self._known):
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)
        self._live.update(self.render(look), refresh=True)

    def render(self, look: Look) -> Group:
        """Headline, running jobs, the rest as a count; each cut at the terminal's width."""
        room = max(1, min(self._console.size.height - 2, MOST_LINES) - 1)
        shown = list(look.running) if len(look.running) <= room else list(look.running)[: room - 1]
        width = max((len(running.label) for running in shown), default=0)
        lines = [headline(look), *(line_of(running, width) for running in shown)]
        if len(shown) < len(look.running):
            lines.append(f"  and {len(look.running) - len(shown)} more running")
        return Group(*(Text(line, no_wrap=True, overflow="ellipsis") for line in lines))

    def close(self) -> None:
        """Leave the last picture."""
        self._live.stop()


def make_screen(out: TextIO, *, as_json: bool) -> Screen:
    """The screen for a stream."""
    if as_json:
        return JsonScreen(out)
    return LiveScreen(Console(file=out)) if out.isatty() else PlainScreen(out)


def _new_failures(look: Look, known: set[str]) -> list[str]:
    lines = []
    for label, reason in look.failed.items():
        if f"failed {label}" not in known:
            known.add(f"failed {label}")
            lines.append(f"  failed {label}: {reason}; echo-matrix logs {label}")
    return lines
