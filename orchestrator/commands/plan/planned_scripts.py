"""`plan --sbatch`: the scripts that a run would send to the scheduler, as text and as JSON."""

from collections.abc import Iterator, Mapping

from orchestrator.backends.plugin import PlannedRun
from orchestrator.backends.protocol import Placement
from orchestrator.backends.registry import backend_plugin, backends
from orchestrator.backends.scripts import PlannedSubmission, Script, ScriptPlan
from orchestrator.commands.run.run_study import context_of
from orchestrator.errors import PlanError
from orchestrator.host.code import CHECKOUT, code_files, digest_of
from orchestrator.plan.job import Standing
from orchestrator.plan.show import WOULD_RUN
from orchestrator.schedule.expectations import expected_time
from orchestrator.schedule.launcher import build_request, build_submission
from orchestrator.spec.workload import package_of
from orchestrator.study import Study
from orchestrator.wording import counted, shortened, shortened_lines

LISTED = 12
"""Jobs of a script that are listed; the others are counted."""
NEEDS_SHOWN = 3
PLACEHOLDERS = "ids of attempts, and the folders named after them, are made when a script is sent: those here stand in"


def check_has_scripts(study: Study) -> None:
    """Refuse a backend that sends no scripts.

    Raises:
        PlanError: says which do.
    """
    name = study.cluster.backend
    if backend_plugin(name).scripts is None:
        having = " or ".join(f"--backend {other}" for other, plugin in backends().items() if plugin.scripts is not None)
        raise PlanError(f"--sbatch: the backend is {name}, which sends no scripts; add {having}")


def scripts_of(study: Study, standings: Mapping[str, Standing]) -> ScriptPlan:
    """The scripts of the jobs that would run. Writes nothing.

    Raises:
        PlanError: a job cannot be made into a request; or the backend sends no scripts.
    """
    check_has_scripts(study)
    plugin = backend_plugin(study.cluster.backend)
    assert plugin.scripts is not None
    planned = planned_submissions(study, standings)
    run = PlannedRun(
        home=study.home,
        cluster=study.cluster,
        cluster_file=study.cluster_file,
        matrix=study.matrix,
        jobs=[study.plan.jobs[one.submission.job] for one in planned],
    )
    package = package_of(study.plan.workload_name)
    context = context_of(study, digest_of(code_files(CHECKOUT, package, study.home)), run.jobs)
    return plugin.scripts(run, context, planned)


def planned_submissions(study: Study, standings: Mapping[str, Standing]) -> list[PlannedSubmission]:
    """An attempt of each job that would run, dependencies first.

    Raises:
        PlanError: a job cannot be made into a request.
    """
    found: list[PlannedSubmission] = []
    forecaster = study.forecaster() if study.durations() else None
    for job_id in (job_id for job_id, now in standings.items() if now.state in WOULD_RUN):
        job = study.plan.jobs[job_id]
        attempt = f"a000-{job.fingerprint[:8]}"  # like the id of an attempt, but the same at each call
        request = build_request(
            job, attempt=attempt, home=study.home, settings=study.cluster, accumulate=1, resume=None
        )
        placement = Placement(host=study.cluster.backend, cpus=job.resources.cpus, devices=())
        needs = tuple(study.plan.jobs[need].label for need in job.needs if standings[need].state != "done")
        expected = None if forecaster is None else expected_time(forecaster.of(job))
        submission = build_submission(job, study.plan, placement, request, expected)
        found.append(PlannedSubmission(submission=submission, needs=needs))
    return found


def scripts_text(found: ScriptPlan) -> str:
    """What `plan --sbatch` prints."""
    return "\n".join(_lines(found))


def _lines(found: ScriptPlan) -> Iterator[str]:
    jobs = sum(len(script.jobs) for script in found.scripts)
    yield f"{counted(len(found.scripts), 'script')} for sbatch, with {counted(jobs, 'job')}"
    yield "SLURM is told of no dependencies: a script is sent once the jobs that it needs are done"
    yield PLACEHOLDERS
    yield from (f"note: {note}" for note in found.notes)
    shown: dict[tuple[str, str], int] = {}
    for number, script in enumerate(found.scripts, start=1):
        yield ""
        yield f"script {number}: {_summary(script)}"
        labels = [f"  {f'[{i}] ' if script.kind == 'array' else ''}{label}" for i, label in enumerate(script.jobs)]
        yield from shortened_lines(labels, LISTED)
        like = shown.setdefault((script.stage, str(script.request)), number)
        if like == number:
            yield from ("", *(f"    {line}".rstrip() for line in script.text.splitlines()))
        else:
            yield f"  as script {like}, but for its name, folder and array (`--json` has each in full)"


def _summary(script: Script) -> str:
    asks = script.request
    gpus = "".join(f", {number} {f'{kind} ' if kind else ''}gpus" for kind, number in asks["gpus"].items())
    each = f"{counted(asks['cpus'], 'cpu')}, {asks['memory_mib']} MiB{gpus}"
    minutes = f"{asks['minutes']} minutes{' (estimated)' if asks['short_limit'] else ''}"
    size = f"{counted(asks['nodes'], 'node')} with {each}; {minutes}"
    if script.kind == "pilot":
        return f"pilot job, sent while jobs wait for room, at most {script.at_once} at once: {size}"
    what = script.stage
    if script.kind == "array":
        what += f", array of {len(script.jobs)}, at most {script.at_once} at once"
    if script.needs:
        what += f", needs {shortened(script.needs, NEEDS_SHOWN)}"
    return f"{what}: {size}"
