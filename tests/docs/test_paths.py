"""Every path, module and option that the documentation names is there; `test_commands.py` looks at whole commands."""

import re
from collections.abc import Iterator
from fnmatch import fnmatch
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from documented import pages
from typer.main import get_command

from orchestrator import cli

ROOT = Path(__file__).parents[2]
PAGES = [str(page.relative_to(ROOT)) for page in pages() if page.parent.name != "reference"]

FOLDERS = (".ci", "cluster", "docs", "orchestrator", "reports", "tests", "workloads")
FILES = sorted(
    str(path.relative_to(ROOT))
    for path in (*ROOT.glob("*.*"), *(found for folder in FOLDERS for found in (ROOT / folder).rglob("*")))
    if "__pycache__" not in path.parts and "outputs" not in path.parts
)
"""Files and folders of the repository."""
PACKAGES = {path.parent.name for path in ROOT.glob("[orw]*/*/__init__.py")} | set(FOLDERS)
"""A path that begins with one of these is of the repository, and so is every file of a kind in `KINDS`."""
KINDS = (".py", ".md", ".yaml")
ELSEWHERE = {"study.md", "report.md", "against.md"}
"""Named by the documentation as not being in the repository, as are files of a report."""
PROGRAM: Any = get_command(cli.app)
OPTIONS = {
    option
    for command in (PROGRAM, *PROGRAM.commands.values())
    for parameter in command.params
    for option in parameter.opts
} | {"--help"}


def expanded(text: str) -> Iterator[str]:
    """`a/{b,c}.py` as `a/b.py` and `a/c.py`; capitals stand for anything."""
    parts = [part.split(",") for part in re.split(r"[{}]", text)]
    for choice in product(*parts):
        yield re.sub(r"\b[A-Z]{2,}\b", "*", "".join(choice))


def has_path(path: str) -> bool:
    """Whether a path is there, from the root or from any folder."""
    wanted = path.strip("/")
    return wanted in FOLDERS or any(fnmatch(file, wanted) or fnmatch(file, f"*/{wanted}") for file in FILES)


def has_module(name: str) -> bool:
    """Whether a dotted name is a module, or a name in one."""
    place = ROOT / name.replace(".", "/")
    if place.is_dir() or place.with_suffix(".py").is_file():
        return True
    module = place.parent.with_suffix(".py")
    return module.is_file() and re.search(rf"\b{place.name}\b", module.read_text(encoding="utf-8")) is not None


def names_a_path(text: str) -> bool:
    """Whether a piece of code is a path of the repository."""
    if not re.fullmatch(r"[\w./{},*-]+", text) or text in ELSEWHERE:
        return False
    return text.endswith(KINDS) or ("/" in text and text.split("/")[0] in PACKAGES)


def problems(text: str, page: Path) -> Iterator[str]:
    """What a page names and is not there."""
    blocks = re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    spans = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]
    lines = [line.partition(" #")[0] for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", prose):
        if "://" not in target and not (page.parent / target).exists():
            yield f"link {target}"
    for span in spans:
        path, _, test = span.partition("::")
        if names_a_path(path):
            yield from (f"path {one}" for one in expanded(path) if not has_path(one))
        if test and test not in (ROOT / path).read_text(encoding="utf-8"):
            yield f"test {span}"
        if re.fullmatch(r"(orchestrator|workloads|reports)(\.[\w{},]+)+", span):
            yield from (f"module {one}" for one in expanded(span) if not has_module(one))
        if re.fullmatch(r"--[a-z-]+", span) and span not in OPTIONS:
            yield f"option {span}"
    for code in (*spans, *lines):
        yield from (
            f"module {name}"
            for name in re.findall(r"python -m ((?:orchestrator|workloads|reports)[\w.]+)", code)
            if not has_module(name)
        )


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_names_is_there(page: str) -> None:
    assert list(problems((ROOT / page).read_text(encoding="utf-8"), ROOT / page)) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("`plan/nothing.py`", ["path plan/nothing.py"]),
        ("`workloads/{study,nothing}/`", ["path workloads/nothing/"]),
        ("`workloads.study.nothing`", ["module workloads.study.nothing"]),
        ("`tests/lanes.py::test_nothing`", ["test tests/lanes.py::test_nothing"]),
        ("[page](nothing.md)", ["link nothing.md"]),
        ("`--nothing`", ["option --nothing"]),
        ("`python -m workloads.nothing.run`", ["module workloads.nothing.run"]),
        ("`workloads/{data,model}/`, `cluster/NAME.yaml`, `outputs/STUDY/driver.out`, `train/context-k5/s0`", []),
    ],
)
def test_what_is_not_there_is_found(text: str, found: list[str]) -> None:
    assert list(problems(text, ROOT / "README.md")) == found
