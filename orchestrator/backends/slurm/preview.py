"""The scripts that a run would send to SLURM (`plan --sbatch`), made by the code that sends them.

They need no SLURM here; where there is one, its limits are asked.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from orchestrator.backends.plugin import BackendContext, PlannedRun
from orchestrator.backends.scripts import PlannedSubmission, Script, ScriptPlan
from orchestrator.backends.slurm.core.commands import SlurmSilent, client_environment, dropped_words
from orchestrator.backends.slurm.core.job_request import JobRequest, request_of_pilot
from orchestrator.backends.slurm.core.submit import SbatchJob, arrays_of, request_for, sbatch_job, script_of
from orchestrator.backends.slurm.pilot.mailbox import pilots_folder
from orchestrator.backends.slurm.pilot.pool import pilot_job
from orchestrator.backends.slurm.preflight.check import find_misfits
from orchestrator.backends.slurm.preflight.site import DEFAULT_ARRAY_SIZE, read_site
from orchestrator.backends.slurm.settings import SlurmSettings, slurm_settings

WHERE = ("partition", "account", "qos", "constraint")
NEW_PILOT = "p000000"
"""In place of the name that a pilot job gets."""


def planned_scripts(run: PlannedRun, context: BackendContext, submissions: Sequence[PlannedSubmission]) -> ScriptPlan:
    """The scripts of attempts, in the order in which they would be sent.

    Attempts of one shape whose missing inputs are the same become ready at once and share an array.
    """
    slurm = slurm_settings(run.cluster)
    array_size, notes = DEFAULT_ARRAY_SIZE, list(_environment())
    site = None
    try:
        site = read_site()
        array_size = site.array_size
    except SlurmSilent as error:
        notes.append(f"the site's limits are not checked: {error}")
    notes += map(str, find_misfits(site, run))
    code = Path(context.host_description()["code"])
    in_pilots, as_jobs = _split(slurm, submissions)
    scripts = list(_pilots(slurm, context, in_pilots, code))
    scripts += _arrays(slurm, context, as_jobs, code, array_size)
    return ScriptPlan(scripts=tuple(scripts), notes=tuple(notes))


def _environment() -> Iterator[str]:
    """What the variables of this shell change."""
    if users := sorted(name for name in client_environment() if name.startswith("SBATCH_")):
        yield f"sbatch also reads of this shell, for what a script does not say: {', '.join(users)}"
    if dropped := dropped_words():
        yield dropped


def _split(
    slurm: SlurmSettings, submissions: Sequence[PlannedSubmission]
) -> tuple[list[PlannedSubmission], list[PlannedSubmission]]:
    """Those that run in pilot jobs, and those that are SLURM jobs of their own."""
    found: tuple[list[PlannedSubmission], list[PlannedSubmission]] = [], []
    for one in submissions:
        submission = one.submission
        inside = slurm.in_pilots(str(submission.request["stage"]), submission.resources)
        found[0 if inside else 1].append(one)
    return found


def _pilots(
    slurm: SlurmSettings, context: BackendContext, inside: Sequence[PlannedSubmission], code: Path
) -> Iterator[Script]:
    if slurm.pilot is None or not inside:
        return
    home = context.home.resolve()
    batch = pilot_job(
        pilots_folder(home) / NEW_PILOT, slurm.pilot, home=home, setup=slurm.setup, code=code, grace_s=context.grace_s
    )
    yield Script(
        name=batch.name,
        kind="pilot",
        stage="",
        jobs=tuple(one.submission.label for one in inside),
        needs=(),
        at_once=slurm.pilot.allocations,
        request=_request(request_of_pilot(slurm.pilot), batch),
        text=script_of(batch, sys.executable),
    )


def _arrays(
    slurm: SlurmSettings,
    context: BackendContext,
    submissions: Sequence[PlannedSubmission],
    code: Path,
    array_size: int,
) -> Iterator[Script]:
    together: dict[tuple[str, ...], list[PlannedSubmission]] = {}
    for one in submissions:
        together.setdefault(one.needs, []).append(one)
    for needs, ready in together.items():
        for group in arrays_of(
            [one.submission for one in ready],
            slurm,
            min(array_size, slurm.max_jobs, slurm.max_waiting),
            context.grace_s,
        ):
            batch = sbatch_job(group, home=context.home.resolve(), slurm=slurm, code=code, grace_s=context.grace_s)
            stage = str(group[0].request["stage"])
            yield Script(
                name=batch.name,
                kind="array" if len(group) > 1 else "job",
                stage=stage,
                jobs=tuple(one.label for one in group),
                needs=needs,
                at_once=min(batch.parameters["array_parallelism"], len(group)),
                request=_request(request_for(group[0], slurm, context.grace_s), batch),
                text=script_of(batch, sys.executable),
            )


def _request(request: JobRequest, batch: SbatchJob) -> Mapping[str, Any]:
    return {**asdict(request), **{name: batch.parameters[name] for name in WHERE}}
