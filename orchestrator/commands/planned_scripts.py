"""`plan --sbatch`: the scripts that a run would send to the scheduler, as text and as JSON."""

from collections.abc import Iterator, Mapping

from orchestrator.backends.plugin import PlannedRun
from orchestrator.backends.protocol import Placement
from orchestrator.backends.registry import backend_plugin, backends
from orchestrator.backends.scripts import PlannedSubmission, Script, ScriptPlan
from orchestrator.commands.run_study import context_of
from orchestrator.errors import PlanError
from orchestrator.host.code import CHECKOUT, code_files, digest_of
from orchestrator.plan.job import Standing
from orchestrator.plan.show import WOULD_RUN
from orchestrator.schedule.launcher import build_request, build_submission
from orchestrator.spec.workload import package_of
from orchestrator.study import Study

LISTED = 12
"""Jobs of a script that are listed; the others are counted."""
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
    jobs = [study.plan.jobs[job_id] for job_id, now in standings.items() if now.state in WOULD_RUN]
    run = PlannedRun(
        home=study.home, cluster=study.cluster, cluster_file=study.cluster_file, matrix=study.matrix, jobs=jobs
    )
    package = package_of(study.plan.workload_name)
    context = context_of(study, digest_of(code_files(CHECKOUT, package, study.home)))
    return plugin.scripts(run, context, [_planned(study, job_id, standings) for job_id in (job.id for job in jobs)])


def _planned(study: Study, job_id: str, standings: Mapping[str, Standing]) -> PlannedSubmission:
    job = study.plan.jobs[job_id]
    placement = Placement(host=study.cluster.backend, cpus=job.resources.cpus, devices=())
    # An id like that of an attempt, but the same at each call.
    attempt = f"a000-{job.fingerprint[:8]}"
    request = build_request(job, attempt=attempt, home=study.home, settings=study.cluster, accumulate=1, resume=None)
    needs = [study.plan.jobs[need].label for need in job.needs if standings[need].state != "done"]
    return PlannedSubmission(submission=build_submission(job, study.plan, placement, request), needs=tuple(needs))


def scripts_text(found: ScriptPlan) -> str:
    """What `plan --sbatch` prints."""
    return "\n".join(_lines(found))


def _lines(found: ScriptPlan) -> Iterator[str]:
    jobs = sum(len(script.jobs) for script in found.scripts)
    yield f"{_count(len(found.scripts), 'script')} for sbatch, with {_count(jobs, 'job')}"
    yield "SLURM is told of no dependencies: a script is sent once the jobs that it needs are done"
    yield PLACEHOLDERS
    yield from (f"note: {note}" for note in found.notes)
    shown: dict[tuple[str, str], int] = {}
    for number, script in enumerate(found.scripts, start=1):
        yield ""
        yield f"script {number}: {_summary(script)}"
        for index, label in enumerate(script.jobs[:LISTED]):
            yield f"  {f'[{index}] ' if script.kind == 'array' else ''}{label}"
        if len(script.jobs) > LISTED:
            yield f"  ... and {len(script.jobs) - LISTED} more"
        like = shown.setdefault((script.stage, str(script.request)), number)
        if like == number:
            yield from ("", *(f"    {line}".rstrip() for line in script.text.splitlines()))
        else:
            yield f"  as script {like}, but for its name, folder and array (`--json` has each in full)"


def _summary(script: Script) -> str:
    asks = script.request
    gpus = ", ".join(f"{number} {kind} gpus".replace("  ", " ") for kind, number in asks["gpus"].items())
    each = f"{asks['cpus']} cpus, {asks['memory_mib']} MiB" + (f", {gpus}" if gpus else "")
    size = f"{_count(asks['nodes'], 'node')} with {each}, {asks['minutes']} minutes"
    if script.kind == "pilot":
        what = f"pilot job, sent while jobs wait for room, at most {script.at_once} at once; for"
    elif script.kind == "array":
        what = f"{script.stage}, array of {len(script.jobs)}, at most {script.at_once} at once"
    else:
        what = script.stage
    shown = ", ".join(script.needs[:3]) + (f" and {len(script.needs) - 3} more" if len(script.needs) > 3 else "")
    return (
        f"{what}{f'; needs {shown}' if script.needs else ''}: {size}" if script.kind != "pilot" else f"{what}: {size}"
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
