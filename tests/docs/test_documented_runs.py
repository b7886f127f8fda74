"""The documented commands that need no cluster are run, on a study that the fake backend has finished."""

import dataclasses
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from documented import PROGRAM, ROOT, Desk, Shown, examples, pages, shown_in

from orchestrator.cli import main
from orchestrator.commands.command import find_commands

FINISHED = ("plan", "run", "status", "logs", "explain", "show", "path", "stop", "doctor", "gc")
"""Commands that are run on the finished study."""
NEW = ("cancel", "retry")
"""Commands that are run where nothing has run yet, so that there is something to cancel."""
ALONE = ("init", "--version")
"""Commands that are run in an empty folder."""
ELSEWHERE: Mapping[str, tuple[str, str]] = {
    r"run .*(--backend slurm|--cluster cluster/slurm\.yaml)\b.*": ("tests/slurm/test_study_on_slurm.py", "slurm"),
    r"(doctor|run) --cluster bucket": ("tests/s3/test_study.py", "s3"),
    r"(doctor|run|sync) --cluster team": ("tests/root/test_team_server.py", "tracking"),
    r"doctor --(cluster cluster/ray\.yaml|backend ray)\b.*": ("tests/backends/test_ray_doctor.py", "node_checks"),
    r"(doctor|run|status|logs|stop) (.*)?--cluster cluster/lab\.yaml.*": (
        "tests/cli/test_driver_on_cluster.py",
        "start_detached",
    ),
    r"doctor --backend slurm": ("tests/slurm/test_site_limits.py", "doctor"),
    r"plan .*--sbatch\b.*": ("tests/backends/test_planned_scripts.py", "sbatch"),
    r"plan --cluster cluster/ray\.yaml --ask-cluster": ("tests/backends/test_ray_addresses.py", "may_ask"),
    r"run --cluster cluster/ray\.yaml.*": ("tests/schedule/test_gangs.py", "nodes"),
    r"run --backend ray .*": ("tests/backends/test_standing_ray.py", "ray"),
    r"run .*--race\b.*": ("tests/results/test_race_verb.py", "race"),
    r"simulate.*": ("tests/plan/test_simulate.py", "simulate"),
    r"run .*--(until|limit|max-device-hours) .*": ("tests/schedule/test_budget.py", "until"),
    r"power.*": ("tests/results/test_power_command.py", "power"),
    r"register.*": ("tests/results/test_registration.py", "register"),
    r"results.*": ("tests/results/test_results.py", "results"),
    r"gc --made-by .*": ("tests/schedule/test_kept_results.py", "made_by"),
    r"run --detach": ("tests/cli/test_detached.py", "--detach"),
    r"retry --failed.*": ("tests/schedule/test_control_commands.py", "failed=True"),
    r"report|report --json": ("tests/services/test_whole_study.py", "report"),
    r"report .*--export .*": ("tests/results/test_results_folder.py", "--export"),
    r"report --source (docs/|results-of-|FOLDER).*": ("tests/results/test_results_folder.py", "--source"),
    r"report .*--(against|formats|output) .*": ("tests/results/test_table_source.py", "--against"),
    r"report --source \S+\.csv( --json)?": ("tests/results/test_table_source.py", "--source"),
    r"report --source published.*": ("tests/reports/test_published.py", "published"),
    r"export.*": ("tests/crate/test_export.py", "export"),
    r"audit.*": ("tests/crate/test_audit_command.py", "audit"),
    r"ui.*": ("tests/tracking/test_ui.py", "ui"),
    r"sync": ("tests/cli/test_keep.py", "sync"),
    r"reshard .*": ("tests/training/test_reshard_verb.py", "reshard"),
    r"--(install|show)-completion": ("tests/cli/test_help_and_completion.py", "source_"),
    r"COMMAND --help": ("tests/cli/test_help_and_completion.py", "--help"),
}
"""Command lines (as they are typed) that are not run here -> the suite that runs the like, and a word of it."""
MACHINE = ("tracking.kind=none", "fake.cpus=256", "fake.devices=64", "fake.memory_gib=4096")
FAKE = ("--backend", "fake", *(word for setting in MACHINE for word in ("--set", setting)))
"""A pretended machine on which every profile fits."""
ROWS = "context-k1,context-k5"
"""Of the finished study, and of runs of all rows: those whose jobs the documentation names."""

Called = Callable[..., tuple[int, str, str]]


def documented() -> list[Shown]:
    """Each command line once."""
    found = [shown for page in pages() for shown in shown_in(page) if shown.program == PROGRAM] + list(examples())
    return list({(shown.text, shown.folder): shown for shown in found if not shown.mentioned}.values())


def suites(shown: Shown) -> list[str]:
    """The patterns of `ELSEWHERE` that a command line matches."""
    return [pattern for pattern in ELSEWHERE if re.fullmatch(pattern, shown.text)]


def of(*verbs: str) -> list[Shown]:
    """The documented command lines of these commands that are run here."""
    return [shown for shown in documented() if shown.words[0] in verbs and not suites(shown)]


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Called:
    def call(words: Sequence[str]) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [PROGRAM, *words])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), *capsys.readouterr()

    return call


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setenv("ECHO_MATRIX_HOME", str(tmp_path / "outputs"))
    monkeypatch.setenv("ECHO_MATRIX_FAKE_S", "0")
    monkeypatch.setattr(sys, "path", list(sys.path))
    desk = Desk(tmp_path / "desk")
    for page in pages():
        desk.add_files_of(page)
    yield desk


def failures(desk: Desk, lines: Sequence[Shown], called: Called, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Run command lines one after the other on the fake backend; those that fail."""
    found = []
    for shown in lines:
        monkeypatch.chdir(desk.folder / shown.folder)
        words = desk.filled(shown.words)
        more = [] if {"--backend", "--cluster"} & set(words) else [*FAKE]
        if words[0] == "run" and "--rows" not in words and shown.folder == Path():
            more += ["--rows", ROWS]
        code, _, err = called([words[0], *more, *words[1:]])
        if code:
            found.append(f"{shown.where}: {PROGRAM} {shown.text}: exit code {code}: {err[-300:]}")
    return found


def test_commands_that_look_run_and_stop_work_as_documented(
    desk: Desk, called: Called, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(desk.folder)
    assert called(["run", *FAKE, "--rows", ROWS])[0] == 0
    found = failures(desk, of(*FINISHED), called, monkeypatch)
    assert not found, "\n".join(found)


def test_jobs_are_cancelled_and_retried_as_documented(
    desk: Desk, called: Called, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = []
    for shown in of(*NEW):  # each is cancelled, then retried: only so both have something to do
        names = [word for word in shown.words[1:] if word != "--now"]
        both = {"cancel": ("cancel", *names), "retry": ("retry", *names)} | {shown.words[0]: shown.words}
        lines += [dataclasses.replace(shown, words=words) for words in both.values()]
    assert failures(desk, lines, called, monkeypatch) == []


def test_what_needs_no_study_works_as_documented(
    desk: Desk, called: Called, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for number, shown in enumerate(of(*ALONE)):
        empty = tmp_path / str(number)
        empty.mkdir()
        monkeypatch.chdir(empty)
        assert called(shown.words)[0] == 0, shown


def test_every_documented_command_is_run_here_or_by_one_suite_that_is_named() -> None:
    here = {*FINISHED, *NEW, *ALONE}
    for shown in documented():
        assert len(suites(shown)) == 1 or (not suites(shown) and shown.words[0] in here), (
            f"{shown.where}: {PROGRAM} {shown.text}: name in ELSEWHERE the suite that runs it"
        )


def test_every_command_is_documented() -> None:
    assert {command.name for command in find_commands()} <= {shown.words[0] for shown in documented()}


@pytest.mark.parametrize("pattern", ELSEWHERE)
def test_what_is_run_elsewhere_is_documented_and_the_suite_is_there(pattern: str) -> None:
    suite, word = ELSEWHERE[pattern]
    assert word in (ROOT / suite).read_text(encoding="utf-8")
    assert any(re.fullmatch(pattern, shown.text) for shown in documented()), "no longer documented: remove it here"
