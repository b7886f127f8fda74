"""Retry policy: what follows an ending (design, "Truth and recovery" rule 4). Pure.

Budgets say how often a job may end a charged way without getting further; an attempt that got
further sets everything back to zero first, so that a long training is not failed by rare faults.

Further means: it left a complete checkpoint of a higher step than any earlier attempt of its job
left, not merely than the one it began with. A job whose checkpoint of step 20 is damaged every time
would otherwise go from 10 to 20 for ever. Stages without checkpoints never progress before they are done:
one that the cluster ends `free_in_a_row` times fails.
"""

import re
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, assert_never

from orchestrator.backends.protocol import Ending
from orchestrator.schedule.ledger.schema import JobRecord
from orchestrator.spec.cluster import RetrySettings
from orchestrator.wording import counted
from workloads.contract.request import Stage

MORE_MEMORY = "more devices or more resources.memory_gib, then `echo-matrix retry`"
MORE_TIME = (
    "no checkpoint fits into the limit: raise resources.STAGE.minutes (and slurm.stages.STAGE.minutes where a cluster "
    "file sets them), or save more often (checkpoint_every_s), then `echo-matrix retry`"
)
SHORT_LIMIT = "ran into a time limit that was estimated; the next one is longer (does not count as a retry)"

CANCELLED = "cancelled; `echo-matrix retry` starts it again"
DIVERGED = "diverged; a retry would end the same way"
LONGEST_REASON = 400
"""Characters of a message that a reason holds."""


@dataclass(frozen=True, kw_only=True)
class Charges:
    """What a job has been charged since it last got further."""

    error: int = 0
    out_of_memory: int = 0
    vanished: int = 0
    free: int = 0
    """Free endings in a row."""
    accumulate: int = 1
    """Micro-batches of a step: raised by out_of_memory, and kept until the job is done."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What happens next to the job whose attempt ended."""

    next: Literal["done", "again", "failed", "cancelled"]
    charges: Charges
    reason: str


def smaller_share(share: int, accumulate: int) -> int | None:
    """The next `accumulate` that at least halves the micro-batch; None at micro-batch 1.

    `share` is the samples of one step on one rank; `accumulate` divides it, before and after, so
    that the global batch stays what it is.
    """
    for candidate in range(2 * accumulate, share + 1):
        if share % candidate == 0:
            return candidate
    return None


def fitted(share: int, accumulate: int) -> int:
    """`accumulate`, or the next one that divides `share`: the job may have had fewer ranks when it was raised."""
    return next((candidate for candidate in range(accumulate, share) if share % candidate == 0), share)


def progressed(step: int, begun: int, earlier: Iterable[int]) -> bool:
    """Whether an attempt got further than its job ever was.

    Args:
        step: newest complete checkpoint that it left; -1: none.
        begun: step that it resumed from; -1: from the start.
        earlier: the same as `step`, of the earlier attempts.
    """
    return step > max(begun, max(earlier, default=-1))


def can_be_host_fault(ending: Ending) -> bool:
    """Whether an ending may lie in the host on which the attempt ran: several of them exclude it for a while."""
    match ending:
        case "error" | "bad_input" | "out_of_memory" | "timed_out" | "vanished" | "node_lost":
            return True
        case "ok" | "diverged" | "preempted" | "interrupted" | "cancelled":
            return False
        case _:
            assert_never(ending)


def first_line(text: str) -> str:
    """The first line of a message, cut where it is too long for a table; the whole of it is in the log."""
    line = text.strip().partition("\n")[0].rstrip()
    return line if len(line) <= LONGEST_REASON else f"{line[:LONGEST_REASON]}…"


def verdict(
    ending: Ending,
    charges: Charges,
    budgets: RetrySettings,
    *,
    progressed: bool,
    share: int | None,
    memory_remedies: Sequence[str] = (),
    detail: str = "",
    short_limit: bool = False,
) -> Verdict:
    """What follows an ending.

    Args:
        ending: how the attempt ended.
        charges: of its job, before.
        budgets: what is allowed.
        progressed: the attempt got further than any of its job before (`progressed`).
        share: samples of a step on one rank; None where the stage has no micro-batch.
        memory_remedies: what else reduces the memory that the stage needs (`StageSpec.memory_remedies`).
        detail: the backend's message; its first line goes into the reason.
        short_limit: `timed_out` only: the limit was estimated; it grows with each such ending, up to the job's own.
    """
    if progressed:
        charges = Charges(accumulate=charges.accumulate)
    message = f": {first_line(detail)}" if detail else ""
    match ending:
        case "ok":
            return Verdict(next="done", charges=charges, reason="")
        case "bad_input":
            return Verdict(next="failed", charges=charges, reason=f"bad input; a retry would not help{message}")
        case "diverged":
            return Verdict(next="failed", charges=charges, reason=f"{DIVERGED}{message}")
        case "cancelled":
            return Verdict(next="cancelled", charges=charges, reason=CANCELLED)
        case "error":
            charges = replace(charges, error=charges.error + 1, free=0)
            return _within(charges, charges.error, budgets.error, "ended with an error", message)
        case "timed_out":
            if progressed:
                return Verdict(next="again", charges=charges, reason="ran into its time limit, but got further")
            if short_limit:
                return Verdict(next="again", charges=charges, reason=f"{SHORT_LIMIT}{message}")
            charges = replace(charges, error=charges.error + 1, free=0)
            after = _within(charges, charges.error, budgets.error, "ran into its time limit without progress", message)
            return replace(after, reason=f"{after.reason}; {MORE_TIME}") if after.next == "failed" else after
        case "vanished":
            charges = replace(charges, vanished=charges.vanished + 1, free=0)
            return _within(charges, charges.vanished, budgets.vanished, "vanished", message)
        case "out_of_memory":
            remedies = ", ".join((*memory_remedies, MORE_MEMORY))
            return _out_of_memory(charges, budgets, share, message, f"use {remedies}", progressed=progressed)
        case "preempted" | "node_lost" | "interrupted":
            charges = charges if progressed else replace(charges, free=charges.free + 1)
            if charges.free >= budgets.free_in_a_row and not progressed:
                reason = f"ended {charges.free} times in a row without progress, last as {ending}{message}"
                return Verdict(next="failed", charges=charges, reason=reason)
            return Verdict(next="again", charges=charges, reason=f"{ending} (does not count as a retry){message}")
        case _:
            assert_never(ending)


def _within(charges: Charges, used: int, allowed: int, what: str, message: str) -> Verdict:
    if used > allowed:
        reason = f"{what}; {_used_up(allowed)}{message}"
        return Verdict(next="failed", charges=charges, reason=reason)
    return Verdict(next="again", charges=charges, reason=f"{what}; retry {used} of {allowed}{message}")


def _used_up(allowed: int) -> str:
    return f"{allowed} of {counted(allowed, 'retry', 'retries')} used" if allowed else "no retry is allowed"


def _out_of_memory(
    charges: Charges, budgets: RetrySettings, share: int | None, message: str, remedies: str, *, progressed: bool
) -> Verdict:
    charges = replace(charges, out_of_memory=charges.out_of_memory + 1, free=0)
    if share is None:
        after = _within(charges, charges.out_of_memory, budgets.out_of_memory, "out of memory", message)
        return replace(after, reason=f"{after.reason}; raise resources.memory_gib") if after.next == "failed" else after
    charges = replace(charges, accumulate=fitted(share, charges.accumulate))
    smaller = smaller_share(share, charges.accumulate)
    micro_batch, allowed = share // charges.accumulate, budgets.out_of_memory
    if smaller is None and progressed:  # a leak, or another process that took the memory
        reason = f"out of memory at micro-batch 1, but got further{message}"
        return Verdict(next="again", charges=charges, reason=reason)
    if smaller is None:
        reason = f"out of memory at micro-batch {micro_batch}{message}; {remedies}"
        return Verdict(next="failed", charges=charges, reason=reason)
    if charges.out_of_memory > allowed:
        used = f"{_used_up(allowed)}, last at micro-batch {micro_batch}"
        return Verdict(next="failed", charges=charges, reason=f"out of memory; {used}{message}; {remedies}")
    reason = f"out of memory; micro-batch is now {share // smaller}{message}"
    return Verdict(next="again", charges=replace(charges, accumulate=smaller), reason=reason)


_MASKS = (
    (re.compile(r"0x[0-9a-fA-F]+"), "<hex>"),
    (re.compile(r"(?:[A-Za-z]:)?(?:[\w.~-]*/)+[\w.~-]*"), "<path>"),
    (re.compile(r"\b(?=[0-9a-fA-F]*\d)[0-9a-fA-F]{8,}\b"), "<hex>"),
    (re.compile(r"\d+(?:\.\d+)?(?:[eE][+-]?\d+)?"), "<n>"),
)


def signature(kind: str, message: str, frames: Sequence[str], package: str) -> str:
    """What makes two tracebacks the same: exception type, innermost frame of the study's or our code, masked message.

    Digits, paths and hex of the message are masked; the frame starts at the name of the package, because the
    hosts of each run use a copy of the code elsewhere.

    Args:
        kind: type of the exception.
        message: of the exception.
        frames: `file:line function`, innermost last.
        package: top-level package, or single module, of the workload.
    """
    ours = re.compile(rf"(?:.*/)?((?:workloads/|orchestrator/|{re.escape(package)}(?:/|\.py:)).*)")
    frame = next((found[1] for frame in reversed(frames) if (found := ours.fullmatch(frame))), "")
    for pattern, mask in _MASKS:
        message = pattern.sub(mask, message)
    return f"{kind} | {frame} | {message}"


def paused_stages(failed: Sequence[tuple[Stage, str]], pause_after: int) -> dict[Stage, str]:
    """Stages that are paused, with the reason.

    Args:
        failed: (stage, signature) of every job that has failed; an empty signature counts for nothing.
        pause_after: jobs of a stage that fail in the same way pause it.
    """
    counts = Counter((stage, same) for stage, same in failed if same)
    return {
        stage: f"{number} of its jobs failed in the same way ({same.split(' | ')[0]}); fix the cause, then "
        "`echo-matrix retry --failed`"
        for (stage, same), number in counts.items()
        if number >= pause_after
    }


def paused_of(records: Iterable[JobRecord], jobs: Container[str], pause_after: int) -> dict[Stage, str]:
    """Stages in which `pause_after` of `jobs` (fingerprints) have failed in the same way, with the reason.

    Jobs that the plan no longer has pause nothing: a matrix that was corrected has other jobs now. Nor do those that
    diverged: that is of one row at one seed, and says nothing about the others.
    """
    failed = [
        one
        for one in records
        if one.fingerprint in jobs and one.state == "failed" and not one.reason.startswith(DIVERGED)
    ]
    return paused_stages([(one.stage, one.signature) for one in failed], pause_after)
