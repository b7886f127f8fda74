"""`register`: write down what is asked and how it will be tested, before the first evaluation."""

import sys
import time
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from orchestrator.commands.command import Command, Group
from orchestrator.commands.options import JsonOption, PlanOptions
from orchestrator.errors import PlanError, disk_errors
from orchestrator.plan.reported import report_spec, restricted
from orchestrator.provenance import commits_of
from orchestrator.reporting.registration.changes import changes
from orchestrator.reporting.registration.content import Content, content_of, evaluations_of
from orchestrator.reporting.registration.file import Entry, registration_file, write_registration
from orchestrator.spec.workload import package_of
from orchestrator.study import Study
from orchestrator.ui.terminal import print_json
from orchestrator.wording import counted, local_time
from reports.formats import commits


def register(
    *,
    options: PlanOptions,
    amend: Annotated[
        bool, typer.Option("--amend", help="Add what is declared now to a registration; what was before is kept.")
    ] = False,
    late: Annotated[
        bool,
        typer.Option("--late", help="Register although evaluations were done; the report says so, and counts them."),
    ] = False,
    show: Annotated[bool, typer.Option("--show", help="Only show what is registered, and what was changed since.")] = (
        False
    ),
    as_json: JsonOption = False,
) -> None:
    """Register questions, metrics, margins and the plan before the first evaluation.

    Writes them into the folder of the study, once, with time, commit and digest. The report then tells what was
    registered from what was explored, and shows what was changed after. Publish the digest: it binds the whole.
    """
    if show and (amend or late):
        raise PlanError("--show writes nothing; leave out --amend and --late")
    study = options.open()
    entries = list(study.registered)
    spec = restricted(report_spec(study.plan.workload), study.plan.branches)
    content = content_of(study.plan, spec)
    if show and not entries:
        raise PlanError(
            f"nothing is registered of profile {study.plan.profile}; `echo-matrix register` does it, before the first "
            "evaluation"
        )
    if not show:
        entries.append(_entry(study, entries, content, amend=amend, late=late))
        with disk_errors(study.home):
            if not write_registration(study.home, study.plan.profile, entries):
                raise PlanError("another command has just registered this profile; look at it with --show")
    if as_json:
        print_json(register_json(study, entries, content))
    else:
        print(show_text(study, entries, content) if show else register_text(study, entries))


def evaluations_seen(study: Study, entries: Sequence[Entry]) -> int:
    """Evaluations of the plan, and of those registered before, that were done: somebody may have seen them.

    Those that were withdrawn count, and those of rows that are ceiling or floor do not.
    """
    planned = evaluations_of(study.plan).union(*(one.content["plan"]["evaluations"] for one in entries))
    return len(planned & (study.store.commits() | {record.fingerprint for record in study.store.withdrawn()}))


def _entry(study: Study, entries: Sequence[Entry], content: Content, *, amend: bool, late: bool) -> Entry:
    """The new entry.

    Raises:
        PlanError: it is not allowed, and why.
    """
    if not study.publishes_results:
        raise PlanError(f"the results of backend {study.cluster.backend} have no meaning; there is nothing to register")
    profile, done = study.plan.profile, evaluations_seen(study, entries)
    if entries and not amend:
        raise PlanError(
            f"profile {profile} is registered since {local_time(entries[-1].at)}; `--show` shows it, `--amend` adds "
            "what is declared now and keeps what was before"
        )
    if amend and not entries:
        raise PlanError(f"nothing is registered of profile {profile}; leave out --amend")
    if amend and entries[-1].content == content:
        raise PlanError("nothing is declared otherwise than it is registered; nothing was written")
    if done and not amend and not late:
        raise PlanError(
            f"{counted(done, 'evaluation')} of this plan {'was' if done == 1 else 'were'} done already, so this is no "
            "registration before the first look; nothing was written; `--late` registers all the same, and the report "
            "says that it was late"
        )
    return Entry.made(
        at=round(time.time(), 3),
        commit=commits_of(package_of(study.plan.workload_name), study.home, lambda text: print(text, file=sys.stderr)),
        evaluations=done,
        previous=entries[-1].digest if entries else "",
        content=content,
    )


def register_json(study: Study, entries: Sequence[Entry], content: Content) -> dict[str, Any]:
    """What `register --json` prints; `changes`: from the last entry to what is declared now."""
    return {
        "version": 1,
        "study": study.plan.study,
        "profile": study.plan.profile,
        "file": str(registration_file(study.home, study.plan.profile)),
        "digest": entries[-1].digest,
        "entries": [one.document for one in entries],
        "changes": changes(entries[-1].content, content),
    }


def register_text(study: Study, entries: Sequence[Entry]) -> str:
    """What `register` prints after it has written."""
    last = entries[-1]
    said = "before the first evaluation" if not last.evaluations else _after(last)
    what = "amended" if len(entries) > 1 else "registered"
    lines = [f"{what}: {_counts(last.content)}; {said}"]
    if len(entries) > 1:
        lines += [f"  {line}" for line in changes(entries[-2].content, last.content)]
    return "\n".join(
        [
            *lines,
            f"file: {registration_file(study.home, study.plan.profile)}",
            f"digest: {last.digest}",
            "publish the digest, so that nobody can register anew; the report shows it",
        ]
    )


def show_text(study: Study, entries: Sequence[Entry], content: Content) -> str:
    """What `register --show` prints."""
    lines = [f"{study.plan.study} · {study.plan.profile}: {registration_file(study.home, study.plan.profile)}"]
    for number, one in enumerate(entries):
        said = "before the first evaluation" if not one.evaluations else _after(one)
        commit = f", commit {commits(one.commit)}" if one.commit else ""
        lines.append(
            f"{'amended' if number else 'registered'} {local_time(one.at)}{commit}: {_counts(one.content)}; {said}; "
            f"digest {one.digest[:12]}"
        )
        if number:
            lines += [f"  {line}" for line in changes(entries[number - 1].content, one.content)]
    since = changes(entries[-1].content, content)
    lines += ["changed since, and not registered:", *(f"  {line}" for line in since)] if since else ["unchanged since"]
    return "\n".join(lines)


def _after(entry: Entry) -> str:
    return f"after {counted(entry.evaluations, 'evaluation')} {'was' if entry.evaluations == 1 else 'were'} done"


def _counts(content: Content) -> str:
    numbers = (
        (len(content["questions"]), "finding", ""),
        (len(content["rows"]), "row", ""),
        (len(content["seeds"]), "seed", ""),
        (len(content["branches"]), "branch", "branches"),
        (content["plan"]["jobs"], "job", ""),
    )
    return ", ".join(counted(number, noun, plural) for number, noun, plural in numbers)


COMMAND = Command(
    function=register,
    group=Group.RUN,
    position=0,
    examples=[
        ("echo-matrix register", "before the first run of the first profile"),
        ("echo-matrix register --profile NAME 'seeds=[0,1,2]'", "of the plan that will run"),
        ("echo-matrix register --show", "what is registered, and what was changed since"),
        ("echo-matrix register --amend", "after a change; the report shows it"),
    ],
)
