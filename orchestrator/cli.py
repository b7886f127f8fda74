"""The command line: one function a verb. What a verb does is elsewhere; here it is asked and shown."""

import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator.errors import OrchestratorError, PlanError
from orchestrator.plan.cost import check_fits, plan_disk, row_sizes, sizes_json, sizes_text
from orchestrator.plan.select import find_job, select
from orchestrator.plan.show import plan_json, plan_text
from orchestrator.results import report_if_needed
from orchestrator.running import run_study
from orchestrator.schedule.ask import ask
from orchestrator.schedule.view import make_view
from orchestrator.status import explain_text, follow_log, last_attempt, request_by_hand, status_json, status_text
from orchestrator.study import DEFAULT_PROFILE, Study, open_study, reopen_study

app = typer.Typer(
    name="echo-matrix",
    help="Bring a controlled study to what matrix.yaml declares. Running it twice is free.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

MatrixOption = Annotated[Path, typer.Option("--matrix", help="The study.", show_default=True)]
ProfileOption = Annotated[str, typer.Option("--profile", help="The scale: a profile of the matrix.")]
LastProfileOption = Annotated[
    str | None, typer.Option("--profile", help="The scale; default: profile and overrides of the last run.")
]
ClusterOption = Annotated[
    Path | None, typer.Option("--cluster", help="Where to run; default: cluster/local.yaml beside the matrix.")
]
RowsOption = Annotated[
    str | None, typer.Option("--rows", help="Rows to run: names and globs with commas, also family:spatial.")
]
SeedsOption = Annotated[str | None, typer.Option("--seeds", help="Seeds to run, with commas.")]
BranchesOption = Annotated[str | None, typer.Option("--branches", help="Branches to run: replay, loop, return.")]
JsonOption = Annotated[
    bool, typer.Option("--json", help="One JSON object on standard output, all else on standard error.")
]
SmokeOption = Annotated[
    bool, typer.Option("--smoke", help="Two steps and one case of every cell at true size; never counts as done.")
]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="KEY=VALUE...", help="Full paths, e.g. controls.training.steps=7.")
]
JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="Id, unique prefix of an id, or label.")]
DEFAULT_MATRIX = Path("matrix.yaml")


def main() -> None:
    """Run the command line; errors made on purpose are printed as one line and give their exit code."""
    try:
        app()
    except OrchestratorError as error:
        print(f"echo-matrix: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)


@app.command(epilog="Example: echo-matrix plan --rows 'context-*' controls.training.steps=800")
def plan(
    overrides: Overrides = None,
    matrix: MatrixOption = DEFAULT_MATRIX,
    profile: ProfileOption = DEFAULT_PROFILE,
    cluster: ClusterOption = None,
    smoke: SmokeOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show what would run, why, and what each row costs; refuse a row that cannot fit. Changes nothing."""
    study = open_study(matrix, profile=profile, overrides=overrides or (), cluster=cluster, smoke=smoke)
    standing = study.look()
    sizes = row_sizes(study.plan, study.cluster)
    disk = plan_disk(study.plan, sizes)
    if as_json:
        _print_json({**plan_json(study.plan, standing), **sizes_json(sizes, disk)})
    else:
        print(sizes_text(sizes, disk))
        print(plan_text(study.plan, standing))
    check_fits(sizes)


@app.command(
    epilog="Examples: echo-matrix run · echo-matrix run --rows context-k1,family:ssm --seeds 0 --branches replay · "
    "echo-matrix run --smoke --profile study"
)
def run(
    overrides: Overrides = None,
    matrix: MatrixOption = DEFAULT_MATRIX,
    profile: ProfileOption = DEFAULT_PROFILE,
    cluster: ClusterOption = None,
    rows: RowsOption = None,
    seeds: SeedsOption = None,
    branches: BranchesOption = None,
    smoke: SmokeOption = False,
    as_json: JsonOption = False,
) -> None:
    """Bring the study to what the matrix declares, then write the report. Ctrl-C leaves everything resumable."""
    study = open_study(matrix, profile=profile, overrides=overrides or (), cluster=cluster, smoke=smoke)
    selected = select(study.plan, rows, seeds, branches)
    check_fits(row_sizes(study.plan, study.cluster, selected))
    chosen = {key: value for key, value in (("rows", rows), ("seeds", seeds), ("branches", branches)) if value}
    view = make_view(sys.stderr if as_json else sys.stdout)
    ran = run_study(study, selected, view, chosen)
    outcome = ran.outcome
    if as_json:
        _print_json(
            {
                "version": 1,
                "study": study.plan.study,
                "profile": study.plan.profile,
                "counts": outcome.counts,
                "started": outcome.submitted,
                "interrupted": outcome.interrupted,
                "failures": [{"label": label, "reason": why, "trace": list(t)} for label, why, t in outcome.failures],
                "report": str(ran.report) if ran.report else None,
            }
        )
        raise typer.Exit(outcome.exit_code)
    for label, why, trace in outcome.failures:
        print(f"\nfailed: {label}: {why}")
        for line in trace:
            print(f"  {line}")
        print(f"  log: echo-matrix logs {label}; again: echo-matrix retry {label}")
    if outcome.note:
        print(outcome.note)
    if not outcome.submitted and outcome.exit_code == 0:
        print(f"nothing to do: {outcome.counts.get('done', 0)} of {sum(outcome.counts.values())} jobs are done")
    else:
        print(", ".join(f"{number} {state}" for state, number in outcome.counts.items()))
    if ran.report:
        print(f"report: {ran.report}")
    raise typer.Exit(outcome.exit_code)


@app.command(epilog="Example: echo-matrix status --watch")
def status(
    overrides: Overrides = None,
    matrix: MatrixOption = DEFAULT_MATRIX,
    profile: ProfileOption = DEFAULT_PROFILE,
    cluster: ClusterOption = None,
    watch: Annotated[bool, typer.Option("--watch", help="Again every two seconds, until Ctrl-C.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show where every job stands: done, running, failed. Reads only."""
    study = open_study(matrix, profile=profile, overrides=overrides or (), cluster=cluster)
    while True:
        if as_json:
            _print_json(status_json(study))
        else:
            print(status_text(study))
        if not watch:
            return
        try:
            time.sleep(2.0)
        except KeyboardInterrupt:
            return


@app.command(epilog="Example: echo-matrix logs train/context-k5/s0 --follow")
def logs(
    job: JobArgument,
    matrix: MatrixOption = DEFAULT_MATRIX,
    profile: LastProfileOption = None,
    cluster: ClusterOption = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as the log grows, until Ctrl-C.")] = False,
) -> None:
    """Print what the last attempt of a job said."""
    study = reopen_study(matrix, profile=profile, cluster=cluster)
    attempt = last_attempt(study, find_job(study.plan, job))
    follow_log(study, attempt, sys.stdout, follow=follow)


@app.command(epilog="Example: echo-matrix explain train/context-k5/s0 --request > request.json")
def explain(
    job: JobArgument,
    matrix: MatrixOption = DEFAULT_MATRIX,
    profile: LastProfileOption = None,
    cluster: ClusterOption = None,
    request: Annotated[
        bool, typer.Option("--request", help="Print the request, inputs fetched, for `python -m workloads.run`.")
    ] = False,
    work: Annotated[Path, typer.Option("--work", help="With --request: the folder it will write into.")] = Path(
        "by-hand"
    ),
) -> None:
    """Say why a job waits or what ended it, or print its request."""
    study = reopen_study(matrix, profile=profile, cluster=cluster)
    found = find_job(study.plan, job)
    if request:
        _print_json(request_by_hand(study, found, work))
    else:
        print(explain_text(study, found))


@app.command(epilog="Example: echo-matrix report --source published --json")
def report(
    overrides: Overrides = None,
    matrix: MatrixOption = DEFAULT_MATRIX,
    profile: ProfileOption = DEFAULT_PROFILE,
    cluster: ClusterOption = None,
    source: Annotated[
        str, typer.Option("--source", help="study: this study · published: the paper's tables.")
    ] = "study",
    as_json: JsonOption = False,
) -> None:
    """Write the report of all that is done, or print its numbers."""
    if source == "published":
        from reports.published import report_from_published

        _print_json(report_from_published())
        return
    if source != "study":
        raise PlanError(f"--source is {source!r}; allowed: study, published")
    study = open_study(matrix, profile=profile, overrides=overrides or (), cluster=cluster)
    report_if_needed(study.report_folder, study.plan, study.look(), study.store, study.home, study.cluster)
    if as_json:
        print((study.report_folder / "report.json").read_text(encoding="utf-8"))
    else:
        print(f"report: {study.report_folder / 'index.html'}")


@app.command(epilog="Example: echo-matrix ui --port 5000")
def ui(
    matrix: MatrixOption = DEFAULT_MATRIX,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="Port to listen on.")] = 5000,
) -> None:
    """Open MLflow over this study's runs, until Ctrl-C."""
    from orchestrator.tracking.ui import open_ui

    open_ui(open_study(matrix).home, host, port)


@app.command(epilog="Example: echo-matrix sync")
def sync(
    overrides: Overrides = None,
    matrix: MatrixOption = DEFAULT_MATRIX,
    profile: ProfileOption = DEFAULT_PROFILE,
    cluster: ClusterOption = None,
) -> None:
    """Show everything that is committed in MLflow; as often as one likes."""
    from orchestrator.tracking.sync import sync as sync_all

    study = open_study(matrix, profile=profile, overrides=overrides or (), cluster=cluster)
    shown = sync_all(study.plan, study.look(), study.store, study.home, study.cluster.tracking.uri)
    print(f"{shown} jobs shown")


@app.command(epilog="Example: echo-matrix retry train/context-k5/s0")
def retry(
    job: JobArgument,
    matrix: MatrixOption = DEFAULT_MATRIX,
    profile: LastProfileOption = None,
    cluster: ClusterOption = None,
) -> None:
    """Forgive a failed or cancelled job: the next run, or the one that runs, takes it up again."""
    _ask("retry", reopen_study(matrix, profile=profile, cluster=cluster), job)


@app.command(epilog="Example: echo-matrix cancel train/context-k5/s0")
def cancel(
    job: JobArgument,
    matrix: MatrixOption = DEFAULT_MATRIX,
    profile: LastProfileOption = None,
    cluster: ClusterOption = None,
) -> None:
    """Cancel a job until it is retried."""
    _ask("cancel", reopen_study(matrix, profile=profile, cluster=cluster), job)


@app.command(epilog="Example: ls $(echo-matrix path train/context-k5/s0)")
def path(
    job: JobArgument,
    matrix: MatrixOption = DEFAULT_MATRIX,
    profile: LastProfileOption = None,
    cluster: ClusterOption = None,
) -> None:
    """Print where a done job's artifact lies."""
    study = reopen_study(matrix, profile=profile, cluster=cluster)
    print(study.store.fetch(find_job(study.plan, job).fingerprint))


def _ask(verb: Any, study: Study, name: str) -> None:
    job = find_job(study.plan, name)
    if study.look()[job.id].state == "done":
        raise PlanError(f"{job.label} is done; there is nothing to {verb}")
    answer = ask(verb, [job], home=study.home)
    print(f"{job.label}: {'asked the driver' if answer == 'asked' else 'booked'}")


def _print_json(value: Any) -> None:
    json.dump(value, sys.stdout, indent=1, sort_keys=False)
    sys.stdout.write("\n")
