"""`audit`: check a crate that `export` has written, here or elsewhere."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.commands.command import Command, Group
from orchestrator.commands.options import ClusterOption, JsonOption, SetOption
from orchestrator.errors import PlanError
from orchestrator.spec.lines import printable
from orchestrator.ui.terminal import SteadyView, print_json, told_if_slow
from orchestrator.wording import counted, shortened_lines

if TYPE_CHECKING:  # what makes reports is imported when there is a crate to check
    from orchestrator.crate.audit import Audit
    from orchestrator.crate.findings import AuditCheck
    from orchestrator.crate.rerun_choice import RerunChoice
    from orchestrator.study import Study

WORDS = {"right": "right  ", "differs": "DIFFERS", "open": "OPEN   "}
LIMIT = (
    "the crate agrees with itself; values that were changed together with every digest and the report\n"
    "would agree too: --expect DIGEST or --rerun finds them"
)
SHOWN = 20
"""Lines of each kind that are printed for a check; `--json` has all."""


def audit(
    crate: Annotated[Path, typer.Argument(metavar="CRATE", help="A zip file or folder that `export` has written.")],
    *,
    expect: Annotated[
        str, typer.Option("--expect", metavar="DIGEST", help="The published digest of the crate, or its first digits.")
    ] = "",
    workload: Annotated[
        list[str] | None,
        typer.Option(
            "--workload",
            metavar="MODULE",
            help="Import this workload if the crate names it: your own copy, installed or in the current folder. "
            "Repeatable.",
        ),
    ] = None,
    rerun: Annotated[
        bool, typer.Option("--rerun", help="Also run jobs again, and compare their results with the recorded ones.")
    ] = False,
    jobs: Annotated[
        list[str] | None,
        typer.Option(
            "--job",
            metavar="JOB",
            help="With --rerun: these jobs, by label, id or glob, and what they need. Repeatable. Default: the "
            "cheapest cell that goes through the most stages.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --rerun: list what would run and what it took, and run nothing.")
    ] = False,
    work: Annotated[
        Path | None,
        typer.Option("--work", metavar="FOLDER", help="With --rerun: where. Default: outputs/audit-DIGEST."),
    ] = None,
    cluster: ClusterOption = None,
    settings: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check the results in a crate: every digest, every control, and the report byte for byte.

    It needs the crate and this software, and executes nothing that is in the crate. It finds values, weights and
    records that were changed after the fact. What somebody has changed and recorded consistently, from the values to
    the report, only a published digest (--expect) or --rerun can find.
    """
    from orchestrator.crate.audit import audit_crate
    from orchestrator.crate.opening import opened_crate

    if (jobs or dry_run or work) and not rerun:
        raise PlanError("--job, --dry-run and --work are for --rerun; add it")
    if workload:
        sys.path.append(str(Path.cwd()))
    with opened_crate(crate) as folder:
        with told_if_slow(lambda text: print(text, file=sys.stderr), "checking the crate"):
            found = audit_crate(folder, workload or (), expect)
        checks = list(found.checks)
        planned: dict[str, Any] = {}
        if not as_json:
            print(_heading(crate, found), *map(_check_text, checks), sep="\n")
        if rerun:
            from orchestrator.commands.audit.rerun import choice_of, default_folder, rerun_study, run_again
            from orchestrator.ui.progress import make_view

            study = rerun_study(found, folder, work or default_folder(found), cluster, settings or ())
            choice = choice_of(study, found, jobs or ())
            planned = {"rerun": _choice_json(study, choice)}
            if dry_run:
                if not as_json:
                    print(_choice_text(study, choice))
            else:
                view = SteadyView(make_view(sys.stderr if as_json else sys.stdout))
                checks.append(run_again(study, found, folder, choice, view))
                if not as_json:
                    print(_check_text(checks[-1]))
    code = 0 if all(check.verdict == "right" for check in checks) else 1
    if as_json:
        print_json(
            {
                "version": 1,
                "crate": found.digest,
                "study": found.description.study,
                "profile": found.description.profile,
                "right": code == 0,
                "checks": [check.document for check in checks],
                **planned,
            }
        )
    else:
        print(_end(checks, sure=bool(expect) or (rerun and not dry_run)))
    raise typer.Exit(code)


COMMAND = Command(
    function=audit,
    group=Group.RESULTS,
    position=4,
    examples=[
        ("echo-matrix audit results.crate.zip", "digests, chain, controls, report"),
        ("echo-matrix audit results.crate.zip --expect DIGEST", "and that it is the crate whose digest was published"),
        ("echo-matrix audit results.crate.zip --rerun --dry-run", "what would be run again, and how long it took"),
        ("echo-matrix audit results.crate.zip --rerun", "run the cheapest cell again, from its data on"),
        ("echo-matrix audit results.crate.zip --rerun --job STAGE/ROW/s0", "run another job again, and what it needs"),
    ],
    exit_codes={
        0: "everything that was checked is right",
        1: "something differs, or could not be checked",
        2: "bad input, or no crate that is safe to read",
        130: "interrupted; the same command continues",
    },
)


def _heading(crate: Path, found: "Audit") -> str:
    given = found.description
    overrides = "".join(f" {text}" for text in given.overrides)
    lines = [f"{crate}: {given.study}, profile {given.profile}{overrides}", f"digest {found.digest}"]
    return "\n".join([*map(printable, [*lines, *(f"left out by its writer: {one}" for one in given.left_out)]), ""])


def _check_text(check: "AuditCheck") -> str:
    """One check; what the crate says in it may hold control characters."""
    lines = [f"{WORDS[check.verdict]} {check.name}: {printable(check.says)}"]
    differences = [
        f"        {printable(one.where)}\n          expected {printable(one.expected)}"
        f"\n          found    {printable(one.found)}" + (f"\n          {printable(one.means)}" if one.means else "")
        for one in check.differences
    ]
    lines += shortened_lines(differences, SHOWN, "differences; --json has all")
    lines += shortened_lines([f"        not checked: {printable(line)}" for line in check.unchecked], SHOWN)
    lines += shortened_lines([f"        {printable(line)}" for line in check.notes], SHOWN)
    return "\n".join(lines)


def _end(checks: "Sequence[AuditCheck]", *, sure: bool) -> str:
    """The last lines; `sure`: the crate was compared with something that its writer cannot change."""
    differences = sum(len(check.differences) for check in checks)
    unchecked = sum(len(check.unchecked) for check in checks)
    if not differences and not unchecked:
        return f"\neverything is right: {counted(len(checks), 'check')}" + ("" if sure else f"\n{LIMIT}")
    found = [counted(differences, "difference")] if differences else []
    found += [f"{counted(unchecked, 'thing')} could not be checked"] if unchecked else []
    return f"\n{'; '.join(found)}"


def _choice_json(study: "Study", choice: "RerunChoice") -> dict[str, Any]:
    return {
        "jobs": [one.label for one in choice.jobs],
        "recorded_s": choice.seconds,
        "refused": dict(choice.refused),
        "folder": str(study.home),
    }


def _choice_text(study: "Study", choice: "RerunChoice") -> str:
    from orchestrator.plan.forecast_show import duration_words

    done = study.store.commits()
    lines = [f"        {one.label}{' (done here)' if one.fingerprint in done else ''}" for one in choice.jobs]
    took = f"they took {duration_words(choice.seconds)} when they were recorded, one after the other"
    refused = [f"        cannot be run again here: {label}: {why}" for label, why in choice.refused.items()]
    return "\n".join(
        [
            f"--rerun would run {counted(len(choice.jobs), 'job')} in {study.home}; {took}",
            *lines,
            *shortened_lines(refused, SHOWN),
        ]
    )
