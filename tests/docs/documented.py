"""The command lines that the documentation and `--help` show, and how the real command line reads them.

Words in capitals in these lines are placeholders and stand for names of the study: `STAGE/ROW/s0`, `--profile NAME`.
"""

import os
import re
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

import typer
from typer.exceptions import TyperException
from typer.main import get_command

from orchestrator.cli import app
from orchestrator.commands.command import find_commands
from orchestrator.commands.init import init
from orchestrator.errors import OrchestratorError
from orchestrator.opening import open_study
from orchestrator.plan.select import find_jobs, select
from orchestrator.study import Study

ROOT = Path(__file__).parents[2]
PROGRAM = "echo-matrix"
SHELLS = {"console", "sh", "bash", "shell"}
FENCE = re.compile(r"^( *)```(\S*)[^\n]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
VERBS = {command.name for command in find_commands()}
SPAN = re.compile(rf"`((?:{PROGRAM}|make)\s[^`]+|(?:{'|'.join(VERBS)})\s+-[^`]+)`")
"""A command line in a sentence; `run --smoke` for short, too."""
FILE = re.compile(r"# (\S+\.yaml)\n")
"""First line of a block that shows a file: `# cluster/lab.yaml`."""
ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=.*", re.DOTALL)
BEFORE = {"nohup", "time", "exec", "srun", "watch", "xargs", "env"}
"""Programs that start the one that follows them."""
CONTAINERS = {"docker", "podman", "apptainer", "singularity"}
"""Programs whose image may be called as ours is: only a command that follows the name makes it one."""
GROUP: Any = get_command(app)


@dataclass(frozen=True)
class Shown:
    """One command line of `echo-matrix`, or of `make`, as somebody reads it."""

    where: str
    """Page and line, or the help of a command."""
    words: tuple[str, ...]
    """Without the program's name."""
    folder: Path = Path()
    """In which it is typed, below the root of the repository."""
    program: str = PROGRAM
    mentioned: bool = False
    """In a sentence, for short (`run --refresh`): values and arguments may be left out."""

    @property
    def text(self) -> str:
        """To be found again."""
        return " ".join(self.words)


def pages() -> list[Path]:
    """All pages but dated ones, which say what was true on their day."""
    dated = re.compile(r"\d{4}-\d\d-\d\d")
    found = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    return sorted(page for page in found if not any(dated.match(part) for part in page.relative_to(ROOT).parts))


# Shell


def without_comment(line: str) -> str:
    """A line without its comment; `#` in quotes or in a word is none."""
    quote = ""
    for i, mark in enumerate(line):
        if quote:
            quote = "" if mark == quote and line[i - 1] != "\\" else quote
        elif mark in "'\"":
            quote = mark
        elif mark == "#" and (i == 0 or line[i - 1].isspace()):
            return line[:i]
    return line


def typed(block: str) -> Iterator[tuple[int, str]]:
    """Number and text of each line that a block shows as typed, without prompt and comment, continuations joined.

    With prompts (`$ `), lines without one are output.
    """
    lines = block.splitlines()
    prompts = any(line.lstrip().startswith("$ ") for line in lines)
    before, first = "", 0
    for number, line in enumerate(lines):
        text = line.strip().removeprefix("> ") if before else line.strip()
        if not before and prompts and not text.startswith("$ "):
            continue
        first = first if before else number
        text = before + without_comment(text.removeprefix("$ ")).rstrip()
        if text.endswith("\\"):
            before = text.removesuffix("\\")
            continue
        before = ""
        if text:
            yield first, text


def simple_commands(line: str) -> Iterator[list[str]]:
    """The commands of a line of shell: split at pipes, lists and substitutions, without redirections.

    Raises:
        ValueError: a quote is not closed.
    """
    reader = shlex.shlex(line, posix=True, punctuation_chars="();<>|&")
    reader.commenters, reader.whitespace_split = "", True
    words: list[str] = []
    redirected = False
    for word in reader:
        if redirected:
            redirected = False
        elif word and set(word) <= set("<>&") and set(word) & set("<>"):
            redirected = True
            if words and words[-1].isdigit():
                words.pop()
        elif word and set(word) <= set("();|&"):
            yield words
            words = []
        else:
            words.append(word)
    yield words


def started(words: Sequence[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The program of a simple command and its arguments; of `sbatch --wrap "..."` that in the quotes too."""
    rest = list(words)
    while rest and (ASSIGNMENT.fullmatch(rest[0]) or rest[0] == "$"):
        rest.pop(0)
    if not rest:
        return
    first = Path(rest[0]).name
    if first in BEFORE | CONTAINERS:
        inner = [
            i
            for i, word in enumerate(rest)
            if Path(word).name == PROGRAM and (first in BEFORE or set(rest[i + 1 : i + 2]) & VERBS)
        ]
        rest = rest[inner[0] :] if inner else []
        first = PROGRAM if inner else first
    yield first, tuple(rest[1:])
    for word in rest[1:]:
        if word.startswith((f"{PROGRAM} ", f"exec {PROGRAM} ")):
            for _, text in typed(word):
                for command in simple_commands(text):
                    yield from started(command)


# Pages


def shown_in(page: Path) -> Iterator[Shown]:
    """Every command line of a page: of its blocks, and in its sentences.

    Raises:
        ValueError: a quote is not closed.
    """
    text, name = page.read_text(encoding="utf-8"), page.relative_to(ROOT)
    folder = Path()
    for block in FENCE.finditer(text):
        if block[2] not in SHELLS:
            continue
        top = text.count("\n", 0, block.start(3)) + 1
        for number, line in typed(block[3]):
            for words in simple_commands(line):
                for program, arguments in started(words):
                    if program == "cd" and arguments:
                        folder = Path(os.path.normpath(folder / arguments[0]))
                        folder = Path() if folder.is_absolute() or ".." in folder.parts else folder
                    elif program in (PROGRAM, "make"):
                        yield Shown(f"{name}:{top + number}", arguments, folder, program)
    prose = FENCE.sub(lambda block: "\n" * block[0].count("\n"), text)
    for span in SPAN.finditer(prose):
        line = " ".join(span[1].split())
        if "[OPTIONS]" in line:
            continue  # a usage line
        whole = line.startswith((f"{PROGRAM} ", "make "))
        where = f"{name}:{prose.count(chr(10), 0, span.start()) + 1}"
        for words in simple_commands(line if whole else f"{PROGRAM} {line}"):
            for program, arguments in started(words):
                yield Shown(where, arguments, Path(), program, mentioned=not whole)


def examples() -> Iterator[Shown]:
    """The examples in the help of every command."""
    for command in find_commands():
        for line, _ in command.examples:
            for words in simple_commands(line):
                for program, arguments in started(words):
                    if program == PROGRAM:
                        yield Shown(f"{PROGRAM} {command.name} --help", arguments)


# The study they are about


@dataclass
class Desk:
    """A folder like the repository, in which a reader types: what pages add to it does not stay."""

    folder: Path
    studies: dict[tuple[Any, ...], Study] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=count)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        for entry in ROOT.iterdir():
            if entry.name not in ("cluster", "outputs", ".git"):
                (self.folder / entry.name).symlink_to(entry)
        shutil.copytree(ROOT / "cluster", self.folder / "cluster")

    def add_files_of(self, page: Path) -> None:
        """Write the cluster files that a page shows: blocks whose first line is `# cluster/NAME.yaml`."""
        for block in FENCE.finditer(page.read_text(encoding="utf-8")):
            named = FILE.match(block[3])
            if named and named[1].startswith("cluster/"):
                (self.folder / named[1]).write_text(block[3], encoding="utf-8")

    @cached_property
    def names(self) -> Mapping[str, str]:
        """Placeholder -> a name of the shipped study."""
        plan = self.study({}, Path()).plan
        job = next(job for job in plan.jobs.values() if job.row is not None)
        cell = next(cell for cell in plan.cells if cell.id in job.cells)
        return {"STAGE": job.stage, "ROW": cell.row, "JOB": job.label, "FAMILY": cell.family, "PROFILE": plan.profile}

    def filled(self, words: Sequence[str]) -> list[str]:
        """Arguments in which names of the study stand for the placeholders."""
        found: list[str] = []
        for word in words:
            option = found[-1] if found else ""
            name, equals, value = word.partition("=")
            if name.startswith("--") and equals:
                found.append(f"{name}={self._filled(value, name)}")
            else:
                found.append(self._filled(word, option))
        return found

    def _filled(self, word: str, option: str) -> str:
        by_option = {
            "--profile": {"NAME": self.names["PROFILE"]},
            "--cluster": {"NAME": "local", "FILE": "cluster/local.yaml", "NAME|FILE": "local"},
            "--backend": {"NAME": "local"},
            "--matrix": {"FILE": "matrix.yaml"},
            "--study": {"NAME": "mine"},
        }
        known = by_option.get(option, {})
        if word in known:
            return known[word]
        word = word.replace("family:NAME", f"family:{self.names['FAMILY']}")
        numbers = {"N": "1", "S": "1", "ID": "a001", "KEY=VALUE": "seeds=[0]", "LIST": self.names["ROW"]}
        if word in numbers:
            return numbers[word]
        return re.sub(r"\b(STAGE|ROW|JOB)\b", lambda match: self.names[match[1]], word)

    def study(self, given: Mapping[str, Any], folder: Path, *, smoke: bool = False) -> Study:
        """The study of a command line, planned once."""
        matrix = self.folder / folder / (given.get("matrix") or "matrix.yaml")
        cluster = given.get("cluster")
        if cluster is not None and (len(Path(cluster).parts) > 1 or Path(cluster).suffix):
            cluster = self.folder / folder / cluster
        overrides, settings = tuple(given.get("overrides") or ()), tuple(given.get("settings") or ())
        key = (matrix, given.get("profile"), overrides, cluster, settings, smoke)
        if key not in self.studies:
            self.studies[key] = open_study(
                matrix,
                profile=given.get("profile"),
                overrides=overrides,
                cluster=cluster and Path(cluster),
                settings=settings,
                smoke=smoke,
                look=False,  # a bucket of a page is nowhere
            )
        return self.studies[key]

    def problem(self, shown: Shown) -> str:
        """Why the command line does not take these words; empty: it does."""
        words = self.filled(shown.words)
        if not words or words[0] in ("COMMAND", "--install-completion", "--show-completion"):  # they act at once
            return ""
        try:
            with GROUP.make_context(PROGRAM, words) as program:
                name, command, rest = GROUP.resolve_command(program, words)
                with command.make_context(name, rest, parent=program) as context:
                    self._check(name, context.params, shown.folder)
        except typer.Exit:
            return ""  # help, or the version
        except TyperException as error:
            why = error.format_message()
            incomplete = why.startswith("Missing argument") or why.endswith("requires an argument.")
            return "" if shown.mentioned and incomplete else why
        except OrchestratorError as error:
            return str(error)
        return ""

    def _check(self, name: str, given: Mapping[str, Any], folder: Path) -> None:
        """Look the values up in the study.

        Raises:
            OrchestratorError: one is not of the study.
        """
        if name == "init":
            target = self.folder / folder / given["folder"]
            if any((target / entry).exists() for entry in ("matrix.yaml", "cluster")):
                target = self.folder / f"empty-{next(self.numbers)}"
            init(target, **{one: given[one] for one in given if one != "folder"})
            return
        plan = self.study(given, folder, smoke=bool(given.get("smoke"))).plan
        select(plan, given.get("rows"), given.get("seeds"), given.get("branches"))
        names = [given.get("job"), *(given.get("jobs") or ()), *(given.get("refresh") or ())]
        find_jobs(plan, [one for one in names if one is not None])
