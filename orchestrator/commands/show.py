"""`show`: provenance of a job's artifact: inputs, attempt, host, code, versions, cost, folder."""

from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.commands.command import Command, Group
from orchestrator.commands.options import JobArgument, JsonOption, LastRunOptions
from orchestrator.errors import StoreError
from orchestrator.plan.job import SHORT, Job
from orchestrator.plan.select import find_job
from orchestrator.schedule.ledger.schema import attempt_json
from orchestrator.store.lineage import made_in
from orchestrator.store.protocol import Commit
from orchestrator.study import Study
from orchestrator.ui.terminal import print_json
from orchestrator.wording import counted, local_time, shortened, state_words

SHOWN = 4
"""Items that are named; the others are counted."""


def show(job: JobArgument, *, options: LastRunOptions, as_json: JsonOption = False) -> None:
    """Show how a job's result was made.

    Lists its inputs, code, versions, host, cost and folder, and every attempt.
    """
    study = options.look()
    found = find_job(study.plan, job)
    if as_json:
        print_json(show_json(study, found))
    else:
        print(show_text(study, found))


COMMAND = Command(
    function=show,
    group=Group.INSPECT,
    position=3,
    examples=[("echo-matrix show STAGE/ROW/s0", ""), ("echo-matrix show STAGE/ROW/s0 --json", "with all its records")],
)


def show_json(study: Study, job: Job) -> dict[str, Any]:
    """What `show --json` prints; `commit` is null while the job is not done.

    Raises:
        StoreError: the commit record cannot be read.
    """
    standing = study.standings()[job.id]
    commit, folder, why = _commit(study, job)
    return {
        "version": 1,
        "id": job.id,
        "label": job.label,
        "stage": job.stage,
        "fingerprint": job.fingerprint,
        "state": standing.state,
        "reason": standing.reason,
        "cells": list(job.cells),
        "folder": folder,
        "damage": why,
        "commit": None if commit is None else _commit_json(study, commit),
        "attempts": [attempt_json(attempt) for attempt in study.attempts().get(job.fingerprint, ())],
        "withdrawn": _withdrawn(study, job),
    }


def show_text(study: Study, job: Job) -> str:
    """What `show` prints."""
    found = show_json(study, job)
    lines = [f"{job.label}  {job.id}", f"  {state_words(found['state'], found['reason'])}"]
    commit = found["commit"]
    if commit is None:
        lines.append(f"  not done; see `echo-matrix explain {job.label}`")
    else:
        lines += [
            f"  artifact  {found['folder'] or found['damage']}",
            f"  manifest  {commit['manifest']}",
            f"  made      {local_time(commit['started'])} to {local_time(commit['ended'])} "
            f"by attempt {commit['attempt']} on {commit['host_kind'] or 'a host of unknown kind'}",
            f"  code      {commit['code'][:SHORT]}, checkout {commit['git'] or 'unknown'}",
            f"  versions  {_pairs(commit['versions'])}",
        ]
        for stage, source in commit["inputs"].items():
            name = source["label"] or "not in this plan"
            lines.append(f"  read      {stage}: {name}  {source['fingerprint'][:SHORT]}")
        lines += [f"  {one}" for one in _item_lines(commit)]
        if commit["cost"]:
            lines.append(f"  cost      {_pairs(commit['cost'])}")
    for attempt in found["attempts"]:
        saved = attempt["step"] >= 0 and attempt["ending"] != "ok"
        steps = f", last checkpoint: step {attempt['step']}" if saved else ""
        words = attempt["ending"] or "not ended"
        detail = f": {attempt['detail']}" if attempt["detail"] else ""
        where = " + ".join(attempt.get("hosts", (attempt["host"],))) or "an unknown host"
        lines.append(f"  attempt   {attempt['id']} on {where}{steps}: {words}{detail}")
    if found["withdrawn"]:
        times = counted(found["withdrawn"], "time")
        lines.append(f"  refreshed {times}: earlier commit records are in withdrawn/ of the store")
    return "\n".join(lines)


def _commit(study: Study, job: Job) -> tuple[Commit | None, str | None, str]:
    """The commit record, its folder or URL, and why that cannot be used."""
    if job.fingerprint not in study.store.commits():
        return None, None, ""
    commit = study.store.read(job.fingerprint)
    try:
        return commit, study.store.locate(job.fingerprint), ""
    except StoreError as error:
        return commit, None, str(error)


def _commit_json(study: Study, commit: Commit) -> dict[str, Any]:
    labels = {job.fingerprint: job.label for job in study.plan.jobs.values()}
    return {
        "attempt": commit.attempt,
        "manifest": commit.manifest,
        "started": commit.started,
        "ended": commit.ended,
        "host_kind": commit.host_kind,
        "code": commit.code,
        "git": commit.git,
        "versions": dict(commit.versions),
        "inputs": {
            stage: {**source, "label": labels.get(source["fingerprint"], "")} for stage, source in commit.inputs.items()
        },
        "items": dict(commit.items),
        "taken": [
            {
                "fingerprint": name,
                "manifest": manifest,
                "label": labels.get(name, ""),
                "items": taken_from(study, name, commit),
            }
            for name, manifest in commit.taken.items()
        ],
        "cost": dict(commit.result.get("cost", {})),
        "records": dict(commit.result.get("records", {})),
    }


def taken_from(study: Study, fingerprint: str, commit: Commit) -> list[str]:
    """The items that a job has taken over from another, as far as is still known, sorted."""
    try:
        source = study.store.read(fingerprint)
    except StoreError:
        made = {item for item, manifest in commit.origins.items() if manifest == commit.taken[fingerprint]}
    else:
        same = source.manifest == commit.taken[fingerprint]
        places = made_in(source, source.items) if same else {}
        made = {item for item, manifest in commit.origins.items() if places.get(item) == manifest}
    return sorted(made)


def _item_lines(commit: Mapping[str, Any]) -> Iterator[str]:
    """How many items, and which are of other jobs."""
    if not commit["items"]:
        return
    over = sum(len(one["items"]) for one in commit["taken"])
    whole = counted(len(commit["items"]), "item")
    yield f"items     {whole}{f', {over} of them taken over' if commit['taken'] else ''}"
    for one in commit["taken"]:
        name = one["label"] or "a job that is not in this plan"
        listed = shortened(one["items"], SHOWN) or "not known any more which"
        yield f"taken     from {name}  {one['fingerprint'][:SHORT]}: {listed}"


def _withdrawn(study: Study, job: Job) -> int:
    return sum(record.fingerprint == job.fingerprint for record in study.store.withdrawn())


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_number(value)}" for name, value in values.items()) or "none recorded"


def _number(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
