"""Failed jobs as `run` and `status` report them: a traceback is shown once, however many jobs it ended."""

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from orchestrator.host.checkpoints import attempt_folder
from orchestrator.plan.job import Job
from orchestrator.schedule.ledger.database import Ledger
from orchestrator.schedule.retry_policy import DIVERGED, first_line
from orchestrator.wording import shortened, without_state
from workloads.contract.request import Stage
from workloads.contract.result import Failure, read_result
from workloads.runtime.masking import mask, secrets_of

FRAMES = 3
"""Frames of a traceback that are shown, innermost first."""
SHOWN = 6
"""Labels of jobs that failed in the same way which are named; the others are counted."""


@dataclass(frozen=True, kw_only=True)
class FailedJob:
    """A failed job."""

    label: str
    reason: str
    """What ended it and which budget is used up; one line."""
    trace: tuple[str, ...] = ()
    """Exception with its message, then the innermost frames; empty where the newest attempt left none."""
    signature: str = ""
    """What makes its traceback equal to another's (`retry_policy.signature`); empty without one."""
    stage: str = ""


def failure_of(attempt: Path) -> Failure | None:
    """The error in an attempt's result, without secrets; None where there is none."""
    with contextlib.suppress(OSError, ValueError):
        failure = read_result(attempt / "result.json").error
        return failure and replace(failure, message=mask(failure.message, secrets_of(os.environ)))
    return None


def failed_of(home: Path, jobs: Iterable[tuple[Job, str]], ledger: Ledger) -> tuple[FailedJob, ...]:
    """Failed jobs, as they are shown; `jobs`: each with its reason."""
    records, found = ledger.job_records(), []
    for job, reason in jobs:
        attempts = ledger.attempts(job.fingerprint)
        newest = attempt_folder(home, job.fingerprint, attempts[-1].id) if attempts else None
        trace = trace_of(None if newest is None else failure_of(newest))
        signature = records[job.fingerprint].signature if job.fingerprint in records else ""
        found.append(FailedJob(label=job.label, reason=reason, trace=trace, signature=signature, stage=job.stage))
    return tuple(found)


def trace_of(failure: Failure | None) -> tuple[str, ...]:
    """The lines of an error that are shown."""
    if failure is None:
        return ()
    return (f"{failure.type}: {failure.message}", *reversed(list(failure.frames)[-FRAMES:]))


def alike(failures: Iterable[FailedJob]) -> list[list[FailedJob]]:
    """Failures by what made them fail: stage and traceback, or the reason where there is no traceback."""
    groups: dict[tuple[str, str], list[FailedJob]] = {}
    for failure in failures:
        groups.setdefault((failure.stage, failure.signature or failure.reason), []).append(failure)
    return list(groups.values())


def failures_text(failures: Sequence[FailedJob], paused: Mapping[Stage, str] | None = None) -> str:
    """One paragraph for each kind of failure: who, why, the traceback once, what to type next; empty without any.

    Args:
        failures: in the plan's order.
        paused: stage -> why it is paused.
    """
    parts: list[str] = []
    for group in alike(failures):
        first = group[0]
        if len(group) == 1:
            lines = [f"failed: {first.label}: {without_state('failed', first_line(first.reason))}"]
        else:
            lines = [f"{len(group)} jobs failed in the same way: {_listed(group)}", f"  {first_line(first.reason)}"]
        diverged = first.reason.startswith(DIVERGED)  # what was found is in the reason, and where is of no use
        lines += [f"  {line}" for text in first.trace if not diverged for line in text.splitlines()]
        again = f"retry {' '.join(one.label for one in group)}" if len(group) <= SHOWN else "retry --failed"
        told = "" if diverged else f"; again: echo-matrix {again}"
        lines.append(f"  log: echo-matrix logs {first.label}{told}")
        parts.append("\n".join(lines))
    parts += [f"stage {stage} is paused: {why}" for stage, why in (paused or {}).items()]
    return "\n\n".join(parts)


def failures_json(failures: Sequence[FailedJob]) -> list[dict[str, Any]]:
    """The same for programs: every failed job; `trace` is with the first of a kind, `alike` names it for the others."""
    first = {one.label: group[0].label for group in alike(failures) for one in group}
    return [
        {
            "label": one.label,
            "reason": one.reason,
            "trace": list(one.trace) if first[one.label] == one.label else [],
            "alike": None if first[one.label] == one.label else first[one.label],
        }
        for one in failures
    ]


def _listed(group: Sequence[FailedJob]) -> str:
    return shortened([one.label for one in group], SHOWN)
