"""Words for events, counts, times and values in the views of a run."""

from collections.abc import Mapping

from orchestrator.backends.protocol import Ending
from orchestrator.plan.job import State
from orchestrator.schedule.events import Event
from orchestrator.schedule.progress import AttemptProgress
from orchestrator.wording import counted

ENDED: Mapping[Ending, str] = {
    "ok": "done",
    "bad_input": "failed",
    "error": "failed",
    "diverged": "diverged",
    "out_of_memory": "out of memory",
    "timed_out": "timed out",
    "preempted": "preempted",
    "node_lost": "lost its node",
    "interrupted": "stopped",
    "vanished": "vanished",
    "cancelled": "cancelled",
}
"""What an attempt that ended so has done."""

STATE_WORDS: Mapping[str, str] = {"new": "not run", "retry": "to be run again"}
"""Words for states of jobs that say less by themselves, at the end of a run and beside results."""

NEXT: Mapping[State, str] = {"retry": "runs again", "failed": "given up", "blocked": "blocked", "new": "runs again"}
"""What follows for its job, where that is not clear from the ending."""


def sentence(event: Event) -> str:
    """An event in words; empty for events that are not shown."""
    match event.kind:
        case "started":
            return f"started {event.label} ({event.attempt})"
        case "ended":
            return _ended(event)
        case "submitted" | "done" | "tick":
            return ""


def _ended(event: Event) -> str:
    did = next((words for ending, words in ENDED.items() if ending == event.ending), event.ending)
    if event.standing is not None and event.standing.state == "done":
        took = "" if event.took_s is None else f" in {clock_words(event.took_s)}"
        metric = "" if event.metric is None else f", {metric_words(event.metric)}"
        return f"done {event.label}{took}{metric}"
    said = f"{did} {event.label} ({event.attempt})"
    if event.standing is None or event.ending == "interrupted":  # the run is being stopped, which was said
        return said
    follows = NEXT.get(event.standing.state)
    said += "" if follows is None or (did, follows) == ("failed", "failed") else f", {follows}"
    # Equal tracebacks are shown once.
    return f"{said}: {f'the same traceback as {event.alike}' if event.alike else event.standing.reason}"


def share_words(counts: Mapping[State, int]) -> str:
    """`12/130 done, 2 failed`."""
    words = [f"{counts.get('done', 0)}/{sum(counts.values())} done"]
    words += [
        f"{counts[state]} {state}" for state in ("unknown", "blocked", "failed", "cancelled") if counts.get(state)
    ]
    return ", ".join(words)


def counts_words(counts: Mapping[State, int]) -> str:
    """`12/130 done, 2 failed, 4 running`."""
    moving: tuple[State, ...] = ("running", "waiting", "retry")
    return ", ".join(
        [
            share_words(counts),
            *(f"{counts[state]} {STATE_WORDS.get(state, state)}" for state in moving if counts.get(state)),
        ]
    )


def steps_words(one: AttemptProgress) -> str:
    """`120/400`; empty before the first step is known."""
    return f"{one.step}/{one.of}" if one.of else ""


def metric_words(metric: tuple[str, float] | None) -> str:
    """`loss 0.0123`."""
    return "" if metric is None else f"{metric[0]} {metric[1]:.4g}"


def rate_words(rate: float | None) -> str:
    """Steps per second: `3.2/s`; below one, `4.1 s each`."""
    if not rate:
        return ""
    return f"{rate:.3g}/s" if rate >= 1 else f"{1 / rate:.3g} s each"


def left_words(seconds: float | None) -> str:
    """`0:01:20 left`."""
    return "" if seconds is None else f"{clock_words(seconds)} left"


def stopping_words(attempts: int, seconds: float) -> str:
    """`stopping: 2 attempts left, at most 12 s`."""
    return f"stopping: {counted(attempts, 'attempt')} left, at most {seconds:.0f} s"


def clock_words(seconds: float) -> str:
    """`0:01:23`."""
    whole = max(0, int(seconds))
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def attempt_words(one: AttemptProgress) -> str:
    """A running attempt in one phrase: `train/a 120/400, loss 0.0123, 3.2/s, 0:01:20 left`."""
    parts = [steps_words(one) or one.phase, metric_words(one.metric), rate_words(one.rate), left_words(one.eta_s)]
    return f"{one.label} {', '.join(part for part in parts if part)}"
