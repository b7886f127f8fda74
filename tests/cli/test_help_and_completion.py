"""`--version`, `-h`, summaries that are not cut, and what a shell is offered while someone types."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator import cli
from orchestrator.cli import COMPLETING, main
from orchestrator.commands.command import find_commands
from orchestrator.provenance import version

COMMANDS = find_commands()

Completed = Callable[..., list[str]]


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["echo-matrix", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), *capsys.readouterr()

    return call


@pytest.fixture
def completed(
    called: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch, root: Path, tmp_path: Path
) -> Completed:
    """The candidates for the last word of a command line, typed in the folder of the study; nothing else is printed."""
    monkeypatch.chdir(root)
    monkeypatch.setenv("ECHO_MATRIX_HOME", str(tmp_path))

    def complete(line: str) -> list[str]:
        monkeypatch.setenv(COMPLETING, "complete_bash")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
        code, out, err = called()
        monkeypatch.delenv(COMPLETING)
        assert (code, err) == (0, "")
        return out.split()

    return complete


def test_the_version_is_that_of_the_package(called: Callable[..., tuple[int, str, str]]) -> None:
    assert called("--version") == (0, f"echo-matrix {version()}\n", "")


@pytest.mark.parametrize("command", ["", *(command.name for command in COMMANDS)])
def test_h_is_help(called: Callable[..., tuple[int, str, str]], command: str) -> None:
    words = [command] if command else []
    assert called(*words, "-h") == called(*words, "--help")


@pytest.mark.parametrize("columns", [40, 60, 80, 100, 200])
def test_no_summary_is_cut_and_no_usage_is_doubled(
    called: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERMINAL_WIDTH", str(columns))
    _, out, _ = called("--help")
    said = " ".join(out.split())
    for command in COMMANDS:
        summary = " ".join((command.function.__doc__ or "").partition("\n\n")[0].split())
        assert f"{command.name} {summary}" in said
    assert "..." not in said.replace("COMMAND [ARGS]...", "")
    for command in COMMANDS:
        _, out, _ = called(command.name, "--help")
        assert "...]..." not in out and "{" not in out.partition("\n")[0]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("echo-matrix re", ["register", "retry", "results", "report", "reshard"]),
        (
            "echo-matrix run --rows compress-length-r",
            ["compress-length-r2", "compress-length-r4", "compress-length-r8"],
        ),
        ("echo-matrix run --rows bound-truth,bound-a", ["bound-truth,bound-anchor"]),
        ("echo-matrix plan --profile ", ["laptop", "evening", "study", "paper"]),
        ("echo-matrix run --seeds ", ["0"]),
        ("echo-matrix run --branches re", ["replay", "return"]),
        ("echo-matrix run --backend s", ["slurm"]),
        ("echo-matrix run --cluster cluster/r", ["cluster/ray/", "cluster/ray.yaml"]),
        ("echo-matrix logs train/context-k1/", ["train/context-k1/s0"]),
        ("echo-matrix logs train/spatial-place/", ["train/spatial-place/s0"]),  # a row outside the profile
        ("echo-matrix retry train/context-k5/s0 train/context-k1/", ["train/context-k1/s0"]),
        ("echo-matrix run --refresh lat", ["latents"]),
    ],
)
def test_names_of_the_study_are_completed(completed: Completed, line: str, offered: list[str]) -> None:
    assert completed(line) == offered


@pytest.mark.parametrize(
    "line",
    [
        "echo-matrix run --matrix nothing.yaml --rows ",
        "echo-matrix run --matrix pyproject.toml --rows ",
        "echo-matrix run --profile nothing --refresh ",
        "echo-matrix logs --cluster nothing ",
        "echo-matrix run --cluster nothing/",
        "echo-matrix nothing --rows x",
        "echo-matrix run 'seeds=[0 --refresh x",
    ],
)
def test_where_nothing_can_be_completed_nothing_is_said(completed: Completed, line: str) -> None:
    assert completed(line) == []


def test_a_bug_is_not_printed_into_what_someone_types(
    called: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(**_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(cli, "app", broken)
    monkeypatch.setenv(COMPLETING, "complete_bash")
    assert called() == (1, "", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_its_script(
    called: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch, shell: str
) -> None:
    monkeypatch.setenv(COMPLETING, f"source_{shell}")
    code, out, err = called()
    assert (code, err) == (0, "")
    assert f"{COMPLETING}=complete_{shell}" in out
