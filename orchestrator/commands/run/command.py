"""`run`: execute whatever is missing, then write the report."""

import shutil
import sys
from collections.abc import Collection, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.backends.registry import backends
from orchestrator.commands.active_run import refuse_second_run
from orchestrator.commands.command import Command, Group
from orchestrator.commands.options import (
    JsonOption,
    PlanOptions,
    RefreshOption,
    Selection,
    SmokeOption,
    YesOption,
    study_options,
)
from orchestrator.commands.refresh import Withdrawal, find_made_again, find_withdrawals, withdraw, withdrawals_text
from orchestrator.commands.run.budget import BudgetOptions, budget_arguments, idle_limit
from orchestrator.commands.run.detach import FLAG, enter_background, start_detached
from orchestrator.commands.run.race import Racing, run_race
from orchestrator.commands.run.run_study import FinishedRun, run_study
from orchestrator.errors import PlanError
from orchestrator.opening import SETTINGS, recorded_settings
from orchestrator.plan.forecast_show import amount, basis_words
from orchestrator.plan.select import select, with_needs
from orchestrator.requirements import require_platform
from orchestrator.schedule.budget import Budget
from orchestrator.schedule.failures import failures_json, failures_text
from orchestrator.schedule.order import First
from orchestrator.spec.cluster import is_name
from orchestrator.study import Study
from orchestrator.ui.progress import PlainView, make_view
from orchestrator.ui.terminal import SteadyView, confirm, print_json, steady_print
from orchestrator.ui.words import STATE_WORDS
from orchestrator.wording import counted

MOST_REASONS = 3
"""Reasons of blocked jobs that are printed."""


def run(
    *,
    options: PlanOptions,
    selection: Selection,
    smoke: SmokeOption = False,
    detach: Annotated[
        bool,
        typer.Option(
            "--detach",
            help="Run in the background; returns once the first attempt has started. Where ray.dashboard is set, on "
            "the cluster's head.",
        ),
    ] = False,
    refresh: RefreshOption = None,
    yes: YesOption = False,
    budget: BudgetOptions,
    first: Annotated[
        First | None,
        typer.Option(
            "--first",
            metavar="row|seed|comparison",
            help="What to finish first: row after row, seed after seed, or table after table with one seed after the "
            "other. Default: what begins the longest chain of jobs.",
        ),
    ] = None,
    race: Annotated[
        bool,
        typer.Option(
            "--race",
            help="Seed after seed, and no more seeds of a row once it surely differs from the study's baseline, or "
            "surely lies within the margin that matters.",
        ),
    ] = False,
    detached_to: Annotated[Path | None, typer.Option(FLAG, hidden=True)] = None,
    as_json: JsonOption = False,
) -> None:
    """Run whatever is missing, then write the report.

    Jobs that are done are not repeated; with nothing missing it ends at once. Ctrl-C stops at the next checkpoints,
    and a second Ctrl-C at once; the same command continues.
    """
    require_platform()
    allowed = budget.budget
    if race and (why := _not_with_race(smoke, refresh, budget)):
        raise PlanError(f"--race with {why}: leave out one of them")
    on_lease = None if detached_to is None else enter_background(detached_to)
    study = options.open(smoke=smoke, rows=selection.rows)
    racing = Racing.of(study, selection) if race else None
    selected = select(study.plan, **selection.given) if racing is None else racing.selected(racing.looked_at())
    if note := idle_limit(allowed, study.plan.jobs.values()):
        print(f"note: {note}", file=sys.stderr)
    most = selected if racing is None else racing.most
    study.check_feasible(study.plan.workload.estimate(study.plan, most, study.cluster), most)
    withdrawals = _confirmed_withdrawals(study, refresh, yes) if refresh else ()
    if (question := cost_question(study, most, allowed)) and not confirm(question, yes):
        raise typer.Abort
    if not detach:
        selected |= _withdraw(study, withdrawals)
    if detach and (withdrawals or any(study.standings()[job_id].state != "done" for job_id in selected)):
        refuse_second_run(study.home)
        named = {"matrix": options.matrix.resolve(), "profile": study.plan.profile, **selection.given}
        named |= {} if options.cluster is None else {"cluster": _absolute(options.cluster)}
        given = [*named.items(), *(("set", text) for text in options.settings or ())]
        given += budget_arguments(allowed)
        given += [] if first is None else [("first", first)]
        # Withdrawn results are recomputed even if they are not selected.
        given += [("refresh", name) for name in refresh or ()]
        switches = (("--smoke", smoke), ("--json", as_json), ("--yes", withdrawals), ("--race", race))
        flags = [name for name, on in switches if on]
        arguments = [*(f"--{name}={value}" for name, value in given), *flags, "--", *study.plan.overrides]
        raise typer.Exit(_detach(arguments, study, options, as_json))
    stream = sys.stderr if as_json else sys.stdout
    chosen = {**selection.given, **({"smoke": True} if smoke else {})}
    chosen |= {SETTINGS: recorded} if (recorded := recorded_settings(options.settings or ())) else {}

    def run_part(jobs: Collection[str]) -> FinishedRun:
        if again := find_made_again(study, with_needs(study.plan, jobs)):
            withdraw(study.home, study.store, again)
        return run_study(
            study,
            jobs,
            SteadyView(make_view(stream)),
            chosen,
            on_lease,
            budget=allowed,
            first=first,
            # The table of a race is of all its rungs.
            summarise=str if as_json or race else partial(end_text, study, selection),
        )

    raced = None if racing is None else run_race(racing, run_part, PlainView(stream).say)
    result = run_part(selected) if raced is None else raced.run
    if as_json:
        print_json({**run_json(study, result), **({} if raced is None else {"race": asdict(raced.race)})})
    else:
        steady_print(run_text(result))
        if result.summary:
            steady_print(result.summary)
        elif raced is not None and result.outcome.submitted and result.report and not result.outcome.interrupted:
            steady_print(end_text(study, selection))
        if result.report and not result.outcome.interrupted:
            if not result.outcome.submitted:
                steady_print(f"scores: echo-matrix results{study_options(study)}")
            steady_print(f"report: {result.report}")
    raise typer.Exit(result.outcome.exit_code if raced is None else raced.exit_code)


COMMAND = Command(
    function=run,
    group=Group.RUN,
    position=1,
    examples=[
        ("echo-matrix run", "all rows of the first profile"),
        ("echo-matrix run --rows ROW,family:NAME --seeds 0", "a part of it"),
        ("echo-matrix run --profile NAME --smoke", "two steps of every cell, as a test"),
        ("echo-matrix run 'seeds=[0,1,2]'", "with another value in the matrix"),
        ("echo-matrix run --backend slurm", "on SLURM, from a login node"),
        ("echo-matrix run --backend slurm --set slurm.every.partition=gpu", "with another value in the cluster file"),
        ("echo-matrix run --detach", "in the background"),
        ("echo-matrix run --until 08:00 --first comparison", "until the morning, whole comparisons first"),
        ("echo-matrix run --max-device-hours 100", "no more than that; the same command continues"),
        ("echo-matrix run --race 'seeds=[0,1,2,3,4,5,6,7,8,9]'", "no more seeds of a row once it is decided"),
        ("echo-matrix run --refresh STAGE/ROW/s0", "recompute a job and what was made from it"),
    ],
    exit_codes={
        0: "all selected jobs are done",
        1: "a job has failed, or cannot be done now",
        2: "bad input; nothing was started",
        130: "interrupted; the same command continues",
    },
)


def _absolute(cluster: Path) -> Path:
    """`--cluster` for a process in another folder; a name stays a name, it is looked up next to the matrix."""
    return cluster if is_name(cluster, backends()) else cluster.resolve()


def _confirmed_withdrawals(study: Study, names: list[str], yes: bool) -> tuple[Withdrawal, ...]:
    """List what to withdraw and ask for confirmation.

    Raises:
        typer.Abort: the user declines.
    """
    refuse_second_run(study.home)
    withdrawals = find_withdrawals(study, names)
    print(withdrawals_text(withdrawals), file=sys.stderr)
    if withdrawals and not confirm("withdraw these results and recompute those in this plan?", yes):
        raise typer.Abort
    return withdrawals


def cost_question(study: Study, selected: Collection[str], budget: Budget) -> str:
    """What to ask before jobs start that cost more than the cluster file says; empty: nothing."""
    limit = study.cluster.confirm_above_device_hours
    if limit is None or (budget.device_hours is not None and budget.device_hours <= limit):
        return ""
    standings = study.standings()
    cost = study.forecast({job_id: standings[job_id] for job_id in with_needs(study.plan, selected)})
    if cost.device_hours <= limit:
        return ""
    return (
        f"{counted(cost.jobs, 'job')}: {amount(cost.device_hours)} device-hours are expected, at most "
        f"{amount(cost.device_hours_p95)} in 95 of 100 cases; {basis_words(cost)}. That is above "
        f"confirm_above_device_hours ({limit:g}). Start?"
    )


def _not_with_race(smoke: bool, refresh: list[str] | None, budget: BudgetOptions) -> str:
    """The option that is given and means nothing for a race; empty: none."""
    options = {
        "--smoke": smoke,
        "--refresh": refresh,
        "--limit": budget.limit is not None,
        "--max-device-hours": budget.max_device_hours is not None,
        "--max-core-hours": budget.max_core_hours is not None,
    }
    return next((name for name, given in options.items() if given), "")


def _withdraw(study: Study, withdrawals: Sequence[Withdrawal]) -> frozenset[str]:
    """Withdraw results; returns the ids of the jobs that recompute them, with their dependencies."""
    if withdrawals:
        withdraw(study.home, study.store, withdrawals)
    gone = {one.fingerprint for one in withdrawals}
    return with_needs(study.plan, [job.id for job in study.plan.jobs.values() if job.fingerprint in gone])


def _detach(arguments: list[str], study: Study, options: PlanOptions, as_json: bool) -> int:
    remote = backends()[study.cluster.backend].remote_driver(study.cluster)
    started = start_detached(arguments, study.home, lambda text: print(text, file=sys.stderr), remote)
    if started.exit_code is not None:
        print(started.output, end="", file=sys.stdout if started.exit_code == 0 else sys.stderr)
        return started.exit_code
    if as_json:
        fields = {"pid": started.pid, "works": started.works, "output": str(started.out)}
        print_json({"version": 1, **fields, **({"job": remote.id} if remote is not None else {})})
        return 0
    named = study_options(study)
    # Only that one decides where the study's folder is.
    named += "".join(f" --set {text}" for text in options.settings or () if text.partition("=")[0].strip() == "backend")
    what = "is running the study" if started.works else "is running the study, but has not started an attempt yet"
    print(
        f"{started.name} {what}; its output goes to {started.out}\n"
        f"  echo-matrix status --watch{named}\n"
        f"  echo-matrix logs JOB --follow{named}\n"
        f"  echo-matrix stop{named}"
    )
    return 0


def run_json(study: Study, result: FinishedRun) -> dict[str, object]:
    """What `run --json` prints."""
    outcome = result.outcome
    return {
        "version": 1,
        "study": study.plan.study,
        "profile": study.plan.profile,
        "counts": outcome.counts,
        "started": outcome.submitted,
        "interrupted": outcome.interrupted,
        "failures": failures_json(outcome.failures),
        "paused": dict(outcome.paused),
        "blocked": dict(outcome.blocked),
        "report": str(result.report) if result.report else None,
    }


def run_text(result: FinishedRun) -> str:
    """What `run` prints at the end."""
    outcome = result.outcome
    lines: list[str] = []
    if failed := failures_text(outcome.failures, outcome.paused):
        lines += ["", failed]
    told = {f"stage {stage} is paused: {why}" for stage, why in outcome.paused.items()}
    reasons = [(reason, number) for reason, number in outcome.blocked.items() if reason not in told]
    lines += [f"{number} blocked: {reason}" for reason, number in reasons[:MOST_REASONS]]
    if outcome.note:
        lines.append(outcome.note)
    if not outcome.submitted and outcome.exit_code == 0:
        every = sum(outcome.counts.values())
        lines.append("nothing to do: " + ("the job is done" if every == 1 else f"all {every} jobs are done"))
    else:
        lines.append(", ".join(f"{number} {STATE_WORDS.get(state, state)}" for state, number in outcome.counts.items()))
    if outcome.interrupted:
        lines.append("stopped; the same command continues")
    return "\n".join(lines)


def end_text(study: Study, selection: Selection) -> str:
    """The table of scores of what was selected, and where to see more; for a run that computed something."""
    from orchestrator.results import Results
    from orchestrator.ui.scores import scores_text

    table = scores_text(Results(study).values(**selection.given), shutil.get_terminal_size().columns)
    return f"\n{table}\nimages, curves and every run: echo-matrix ui{study_options(study)}"
