"""`plan`: what would run, why, and what each row costs."""

from orchestrator.commands.command import Command, Group
from orchestrator.commands.options import JsonOption, PlanOptions, RefreshOption, SmokeOption
from orchestrator.commands.refresh import find_withdrawals, standings_without, withdrawals_text
from orchestrator.plan.show import plan_json, plan_text
from orchestrator.ui.terminal import print_json


def plan(
    *,
    options: PlanOptions,
    smoke: SmokeOption = False,
    refresh: RefreshOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what would run, why, and what each row costs.

    Changes nothing. Ends with 2 if a row does not fit into its memory or cannot be evaluated.
    """
    study = options.open(smoke=smoke)
    withdrawals = find_withdrawals(study, refresh)
    standings = standings_without(study, withdrawals) if refresh else study.standings()
    estimate = study.plan.workload.estimate(study.plan, None, study.cluster)
    if as_json:
        requested = {"refresh": [one.label for one in withdrawals]} if refresh else {}
        print_json({**plan_json(study.plan, standings), **requested, **(estimate.json if estimate else {})})
    else:
        if estimate:
            print(estimate.text)
        if refresh:
            print(withdrawals_text(withdrawals), end="\n\n")
        print(plan_text(study.plan, standings))
    study.check_feasible(estimate)


COMMAND = Command(
    function=plan,
    group=Group.RUN,
    position=0,
    examples=[
        ("echo-matrix plan", "the whole matrix, first profile"),
        ("echo-matrix plan --profile NAME 'seeds=[0,1,2]'", "another profile, with more seeds"),
        ("echo-matrix plan --refresh STAGE/ROW/s0", "what `run --refresh` would recompute"),
    ],
)
