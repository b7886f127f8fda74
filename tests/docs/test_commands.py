"""Every command in the README, in the documentation and in `--help` is one that the command line takes."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from documented import PROGRAM, ROOT, Desk, Shown, examples, pages, shown_in, simple_commands, started, typed

TARGETS = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setenv("ECHO_MATRIX_HOME", str(tmp_path / "outputs"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield Desk(tmp_path / "desk")
    # Packages of studies that pages begin; another page has others of the same name.
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def problems(desk: Desk, lines: Iterator[Shown]) -> list[str]:
    """What is wrong with command lines, one after the other."""
    found = []
    for shown in lines:
        if shown.program == "make":
            asked = [word for word in shown.words if not word.startswith("-") and "=" not in word]
            why = "".join(f"no target {word}" for word in asked if word not in TARGETS)
        else:
            why = desk.problem(shown)
        if why:
            found.append(f"{shown.where}: {shown.program} {shown.text}: {why}")
    return found


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_a_page_is_taken(desk: Desk, page: Path) -> None:
    desk.add_files_of(page)
    assert problems(desk, shown_in(page)) == []


def test_every_example_in_help_is_taken(desk: Desk) -> None:
    assert problems(desk, examples()) == []


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("run --rows 'context-*' --seeds 0,1", "no seed 1 in this matrix (seeds: 0); add it with seeds=[0,1]"),
        ("run --rows contxt-k1", "no row 'contxt-k1' in this matrix; did you mean 'context-k1'"),
        ("plan --profile evning", "profile 'evning' is unknown; did you mean 'evening'"),
        ("run controls.training.stepps=3", "did you mean 'controls.training.steps'"),
        ("logs", "Missing argument 'JOB'."),
        ("logs train/context-k9/s0", "no job 'train/context-k9/s0' in the plan"),
        ("status --cluster cluster/nothing.yaml", "cluster/nothing.yaml"),
        ("run --backend slurn", "did you mean 'slurm'"),
        ("run --nothing", "--nothing"),
        ("nothing", "No such command 'nothing'."),
    ],
)
def test_what_the_command_line_does_not_take_is_found(desk: Desk, line: str, why: str) -> None:
    (words,) = simple_commands(line)
    assert why in desk.problem(Shown("here", tuple(words)))


@pytest.mark.parametrize(
    ("line", "why"), [("run --refresh", ""), ("explain --request", ""), ("run --nothing", "No such option: --nothing")]
)
def test_a_sentence_may_name_an_option_without_its_value(desk: Desk, line: str, why: str) -> None:
    assert why in desk.problem(Shown("here", tuple(line.split()), mentioned=True))
    assert desk.problem(Shown("here", tuple(line.split()))) != ""


def test_shell_is_read_as_a_shell_reads_it() -> None:
    block = """\
$ export A=1 && echo-matrix plan --profile \\
    evening   # what's new
output of that: echo-matrix nothing
$ ECHO_MATRIX_HOME=/tmp/x nohup .venv/bin/echo-matrix run 'a=#1' > log.txt 2>&1 &
$ ls $(echo-matrix path JOB) | head
$ sbatch --time=1 --wrap "echo-matrix run --smoke"
$ pip install echo-matrix
"""
    found = [
        (number, arguments)
        for number, line in typed(block)
        for words in simple_commands(line)
        for program, arguments in started(words)
        if program == PROGRAM
    ]
    assert found == [
        (0, ("plan", "--profile", "evening")),
        (3, ("run", "a=#1")),
        (4, ("path", "JOB")),
        (5, ("run", "--smoke")),
    ]


def test_placeholders_stand_for_names_of_the_study(desk: Desk) -> None:
    assert desk.filled(["logs", "STAGE/ROW/s0", "--profile", "NAME", "--tail", "N"]) == [
        "logs",
        "train/context-k1/s0",
        "--profile",
        "laptop",
        "--tail",
        "1",
    ]
    assert desk.filled(["run", "--rows", "ROW,family:NAME", "--cluster=FILE"]) == [
        "run",
        "--rows",
        "context-k1,family:context",
        "--cluster=cluster/local.yaml",
    ]
