"""Job states: compares the plan with commit records and the ledger, and says why each job would run.

A commit record outranks the ledger, in both directions. The reason of a job that would run names the keys that changed
since the last plan with the same label.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from orchestrator.plan.continued import begins_at, shorter_jobs
from orchestrator.plan.growth import NONE, Growth, counts_of
from orchestrator.plan.job import SHORT, Job, Plan, Standing, State
from orchestrator.wording import counted, shortened
from workloads.contract.request import Stage

SHOWN = 3
"""Changed keys named in a reason."""

INPUT = "inputs."
REVISION = "revisions."


@dataclass(frozen=True, kw_only=True)
class History:
    """What the ledger has recorded of a job, by its fingerprint."""

    attempts: int
    state: State | None
    """None: the ledger decides nothing; the state follows from the commit record and the number of attempts.

    `done` without a commit record means that the artifact is gone.
    """
    reason: str = ""
    """For display: what ended the last attempt, who cancelled it, which placement it waits for."""


NOTHING = History(attempts=0, state=None)

DONE = Standing(state="done", reason="done")
WITHIN = Standing(state="done", reason="done: another job made all its items")


def standings(
    plan: Plan,
    commits: frozenset[str],
    history: Mapping[str, History],
    previous: Mapping[str, Mapping[str, Any]],
    *,
    paused: Mapping[Stage, str] | None = None,
    growth: Mapping[str, Growth] | None = None,
    keeps_states: bool = True,
    removed: Collection[str] = (),
) -> dict[str, Standing]:
    """The state of each job of `plan`, by job id.

    Args:
        plan: has dependencies before dependents.
        commits: fingerprints of completed jobs.
        history: by job fingerprint.
        previous: by label, the `document` of the job with that label in the last plan.
        paused: stage -> the reason.
        growth: of jobs that are not done, by job id: one that is within a finished job is done.
        removed: fingerprints of jobs that were completed, and are made again since `gc` has removed their videos.
        keeps_states: whether a longer job will find the state of a shorter one (`keep_stable` of the cluster file).
    """
    found: dict[str, Standing] = {}
    roots: dict[str, str] = {}
    open_ = (job for job in plan.jobs.values() if job.fingerprint not in commits)
    shorter = shorter_jobs(open_ if keeps_states else ())
    for job in plan.jobs.values():
        past = history.get(job.fingerprint, NOTHING)
        grown = (growth or {}).get(job.id, NONE)
        if job.fingerprint in commits:
            found[job.id] = DONE
        elif grown.within:
            found[job.id] = WITHIN
        else:
            now = _standing(plan, job, past, grown, previous, paused or {}, found, roots)
            if now.state == "new" and job.fingerprint in removed:
                now = replace(now, reason=f"{removed_words(len(job.items or ()), job)}, and an open job reads them")
            before = previous.get(job.label)
            if now.state == "new" and (begins := _beginning(job, grown, shorter.get(job.id, ()), before)):
                now = replace(now, reason=f"{now.reason}; {begins}")
            found[job.id] = now
    return found


def _beginning(job: Job, growth: Growth, shorter: Sequence[Job], before: Mapping[str, Any] | None) -> str:
    """With which state a job of a continued stage begins; empty: that of its first step, and no shorter one was."""
    path = job.spec.continued
    if path and job.items is None:
        steps = None if before is None else before.get(path)
        return f"begins anew: {job.spec.anew}" if steps not in (None, document(job).get(path)) and job.spec.anew else ""
    step = begins_at(job, growth, shorter) if path else 0
    if not step:
        return ""
    taken = [one.fingerprint for one in growth.taken if int(max(one.items)) == step]
    source = f"{job.stage}/{taken[0][:SHORT]}" if taken else f"{shorter[-1].label}, once that is done"
    return f"continues a shorter job: from step {step} of {source}"


def _standing(
    plan: Plan,
    job: Job,
    past: History,
    grown: Growth,
    previous: Mapping[str, Mapping[str, Any]],
    paused: Mapping[Stage, str],
    found: Mapping[str, Standing],
    roots: dict[str, str],
) -> Standing:
    """The state of a job without a commit record; records in `roots` what blocks it, for its dependents."""
    if past.state in ("waiting", "running", "unknown"):
        return Standing(state=past.state, reason=past.reason or past.state)
    if past.state == "failed":
        return Standing(state="failed", reason=past.reason or f"failed after {counted(past.attempts, 'attempt')}")
    if past.state == "cancelled":
        return Standing(state="cancelled", reason=past.reason or "cancelled; `echo-matrix retry` lets it run again")
    blocked = _blocked(plan, job, paused, found, roots)
    if blocked is not None:
        return Standing(state="blocked", reason=blocked)
    if past.state == "done":
        return Standing(state="new", reason="its artifact is gone")
    if past.attempts:
        why = f": {past.reason}" if past.reason else ""
        return Standing(state="retry", reason=f"retry after {counted(past.attempts, 'attempt')}{why}")
    why = _why_new(plan, job, previous.get(job.label))
    return Standing(state="new", reason=": ".join(said for said in (missing_words(job, grown), why) if said))


def _blocked(
    plan: Plan, job: Job, paused: Mapping[Stage, str], found: Mapping[str, Standing], roots: dict[str, str]
) -> str | None:
    for need in job.inputs.values():
        state = found[need].state
        if state in ("failed", "cancelled"):
            verb = "failed" if state == "failed" else "was cancelled"
            roots[job.id] = f"needs {plan.jobs[need].label} which {verb}"
        elif state == "blocked":
            roots[job.id] = roots[need]
        else:
            continue
        return roots[job.id]
    if job.stage in paused:
        roots[job.id] = f"stage {job.stage} is paused: {paused[job.stage]}"
        return roots[job.id]
    return None


def missing_words(job: Job, grown: Growth) -> str:
    """`4 of 20 cases are missing`; empty: finished jobs have none of its items, or it has none."""
    counts = counts_of(job, grown, done=False)
    if counts is not None and grown.removed:
        lacking = f"{_of(counts.missing, counted(counts.wanted, job.spec.item))} missing"
        return f"{lacking}, {removed_words(grown.removed, job)}"
    if counts is None or not counts.taken:
        return ""
    every, again = counted(counts.wanted, job.spec.item), counts.measured_again
    if counts.missing:
        said = f"{_of(counts.missing, every)} missing"
        return f"{said}, {again} {'is' if again == 1 else 'are'} measured again" if again else said
    if again:
        return f"{_of(again, every)} measured again, none is made again"
    return f"its values over all of {every} are missing"


def removed_words(items: int, job: Job) -> str:
    """What `gc` has removed, of so many items; of a job whose items have no name, without them."""
    of = f" of {counted(items, job.spec.item)}" if items and job.spec.item else ""
    return f"the videos{of} were removed by `gc`"


def _of(number: int, every: str) -> str:
    return f"{number} of {every} {'is' if number == 1 else 'are'}"


def _why_new(plan: Plan, job: Job, before: Mapping[str, Any] | None) -> str:
    if before is None:
        return "never run"
    now = document(job)
    absent = object()
    changes = [key for key in sorted(now.keys() | before.keys()) if now.get(key, absent) != before.get(key, absent)]
    own = [key for key in changes if not key.startswith(INPUT)]
    if own:
        shown = shortened([f"{key} {_text(before, key)} -> {_text(now, key)}" for key in own], SHOWN)
        return f"{shown} since the last plan"
    inputs = [key.removeprefix(INPUT) for key in changes if key.removeprefix(INPUT) in job.inputs]
    if inputs:
        return f"an input changed: {', '.join(plan.jobs[job.inputs[stage]].label for stage in inputs)}"
    return "never run"


def _text(values: Mapping[str, Any], key: str) -> str:
    if key not in values:
        return "(absent)"
    value = values[key]
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


def document(job: Job) -> dict[str, Any]:
    """What a job's fingerprint covers, flat and as JSON values; the ledger keeps it by label.

    Keys: `training.steps`, `branch.cases`, `row.frames`, `seed`, `revisions.stage/train`, and
    `inputs.train`, whose value is the id of the input.
    """
    flat: dict[str, Any] = {}
    for section, values in job.config.items():
        for key, value in values.items():
            flat[f"{section}.{key}"] = value
    for key, value in (job.row or {}).items():
        flat[f"row.{key}"] = value
    if job.seed is not None:
        flat["seed"] = job.seed
    for name, revision in job.revisions.items():
        flat[f"{REVISION}{name}"] = revision
    for stage, need in job.inputs.items():
        flat[f"{INPUT}{stage}"] = need
    return flat
