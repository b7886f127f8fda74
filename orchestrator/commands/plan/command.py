"""`plan`: what would run, why, how long it would take, and what each row costs."""

import os
import sys
import time
from collections.abc import Mapping
from typing import Annotated

import typer

from orchestrator.backends.plugin import PlannedRun
from orchestrator.backends.registry import backend_plugin
from orchestrator.commands.command import Command, Group
from orchestrator.commands.options import JsonOption, PlanOptions, RefreshOption, Selection, SmokeOption
from orchestrator.commands.plan.planned_scripts import check_has_scripts, scripts_of, scripts_text
from orchestrator.commands.refresh import find_withdrawals, standings_without, withdrawals_text
from orchestrator.commands.unrunnable import unrunnable
from orchestrator.errors import SiteError
from orchestrator.plan.forecast import AHEAD
from orchestrator.plan.forecast_show import forecast_json, forecast_text
from orchestrator.plan.growth_show import added_disk_line, growth_json, growth_lines
from orchestrator.plan.job import Standing
from orchestrator.plan.resolution import resolution_json, resolution_lines
from orchestrator.plan.select import selected_part
from orchestrator.plan.show import counts, others_text, plan_json, plan_text
from orchestrator.study import Study
from orchestrator.ui.terminal import print_json


def plan(
    *,
    options: PlanOptions,
    selection: Selection,
    smoke: SmokeOption = False,
    refresh: RefreshOption = None,
    sbatch: Annotated[
        bool,
        typer.Option("--sbatch", help="Show the scripts that a run would send to SLURM, which need not be installed."),
    ] = False,
    ask_cluster: Annotated[
        bool,
        typer.Option("--ask-cluster", help="Ask the Ray cluster of --cluster whether it has a node for each job."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show what would run, why, how long it would take, and what each row costs.

    With the options of `run`, it shows what `run` would run. Changes nothing, and contacts no address of the cluster
    file unless --ask-cluster is given. Ends with 2 if a row does not fit into its memory or cannot be evaluated, or if
    the cluster that was asked has no node for a job.
    """
    study = options.open(smoke=smoke, rows=selection.rows)
    if sbatch:
        check_has_scripts(study)
    withdrawals = find_withdrawals(study, refresh)
    standings = standings_without(study, withdrawals) if refresh else study.standings()
    part = selected_part(study.plan, **selection.given)
    estimate = study.plan.workload.estimate(study.plan, part.jobs, study.cluster)
    others = {job_id: now for job_id, now in standings.items() if job_id not in part.jobs}
    standings = {job_id: standings[job_id] for job_id in part.jobs}
    if as_json:
        requested: dict[str, object] = {"refresh": [one.label for one in withdrawals]} if refresh else {}
        if selection.given:
            requested |= {"selection": selection.given, "others": counts(others)}
        if sbatch:
            requested |= {"sbatch": scripts_of(study, standings).json}
        further = {
            "older_results": None if (older := study.older_results()) is None else older.number,
            "growth": growth_json(study.stage_growth(standings)),
            "disk_added": dict(study.added_disk(standings)),
            "forecast": forecast_json(study.forecast(standings)),
            "resolution": resolution_json(study.plan, study.home),
        }
        print_json(
            {
                **plan_json(part, standings, study.growth()),
                **further,
                **requested,
                **(estimate.json if estimate else {}),
            }
        )
    elif sbatch:
        print(scripts_text(scripts_of(study, standings)))
    else:
        if estimate:
            print(estimate.text)
        if refresh:
            print(withdrawals_text(withdrawals), end="\n\n")
        print(plan_text(part, standings), end="")
        if selection.given:
            print(f"selected: {selection}; {others_text(others)}")
        for line in growth_lines(study.stage_growth(standings), grown=False):
            print(line)
        if added := study.added_disk(standings):
            print(added_disk_line(added, study.cluster.keep_videos_gib))
        for line in resolution_lines(study.plan, study.home):
            print(line)
        if expected := forecast_text(study.forecast(standings), time.time()):
            print(f"\n{expected}")
        if (older := study.older_results()) is not None:
            print(f"note: {older}", file=sys.stderr)
    study.check_feasible(estimate, part.jobs)
    if not sbatch:  # its scripts come with these notes
        say_what_is_missing(study, standings, may_ask=ask_cluster)


def say_what_is_missing(study: Study, standings: Mapping[str, Standing], *, may_ask: bool) -> None:
    """Say what would keep a run of these jobs from starting.

    Raises:
        SiteError: the backend can be asked now, and could not run them.
    """
    run = PlannedRun(
        home=study.home,
        cluster=study.cluster,
        cluster_file=study.cluster_file,
        matrix=study.matrix,
        jobs=[study.plan.jobs[job_id] for job_id, now in standings.items() if now.state in AHEAD],
        environment=os.environ,
        may_ask=may_ask,
    )
    plugin = backend_plugin(study.cluster.backend)

    def note(text: str) -> None:
        print(f"note: {text}", file=sys.stderr)

    if may_ask and plugin.local_share(study.cluster) is not None:
        note("--ask-cluster asks nothing: the jobs run on this machine; name the cluster by --cluster")
    capacity = plugin.preview(run, note)
    if why := unrunnable(run.jobs, capacity):
        if plugin.local_share(study.cluster) is None and capacity is not None and capacity.is_all:
            raise SiteError(why)
        note(f"cannot run there: {why}")  # the plan of a large profile is looked at on small machines


COMMAND = Command(
    function=plan,
    group=Group.RUN,
    position=0,
    examples=[
        ("echo-matrix plan", "all rows of the first profile"),
        ("echo-matrix plan --seeds 0 --branches '*'", "what `run` with these options would run"),
        ("echo-matrix plan --profile NAME 'seeds=[0,1,2]'", "another profile, with more seeds"),
        ("echo-matrix plan --refresh STAGE/ROW/s0", "what `run --refresh` would recompute"),
        ("echo-matrix plan --sbatch --backend slurm", "the scripts that `run` would send to SLURM"),
    ],
)
