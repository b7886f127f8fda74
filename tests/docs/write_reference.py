"""Writes docs/reference/*.md from the declarations in the code: `make reference`.

matrix.yaml, cluster files, commands, exit codes, states and endings of jobs. The meaning of a key is the docstring
below its field. `test_reference.py` fails where a committed page is not what the code says, or a key has no docstring.
"""

import ast
import dataclasses
import inspect
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from typer.main import get_command

from orchestrator.backends.protocol import ENDING_MEANINGS
from orchestrator.backends.registry import backends
from orchestrator.cli import app
from orchestrator.commands.command import EXIT_CODES, Command, Group, find_commands
from orchestrator.plan.job import STATE_MEANINGS
from orchestrator.schedule.retry_policy import Charges, can_be_host_fault, verdict
from orchestrator.spec.cell import Deviation, Resources
from orchestrator.spec.cluster import Cluster, RetrySettings
from orchestrator.spec.exclusion import Exclusion
from orchestrator.spec.load import top_keys
from orchestrator.spec.schema import Axis, Matrix, Profile
from orchestrator.spec.typed import hints_of, unwrap
from workloads.contract.fields import key_of, optional_sections, row_choice, section_kinds
from workloads.contract.loading import OPTIONAL_KEYS, load_workload
from workloads.contract.request import DEFAULT_WORKLOAD
from workloads.contract.workload import Workload

FOLDER = Path(__file__).parents[2] / "docs" / "reference"
WRITTEN = "<!-- written by `make reference` from the code; do not edit -->\n"
NEVER = "none"
GLOBS = "a name or glob, or a list of these"
MISSING = dataclasses.MISSING


@dataclasses.dataclass(frozen=True, kw_only=True)
class Key:
    """One key of a file."""

    name: str
    type: str
    default: str
    """Empty: the key is required."""
    meaning: str


@cache
def meanings(cls: type) -> Mapping[str, str]:
    """Key -> the docstring below its field, those of base classes included."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if not dataclasses.is_dataclass(base):
            continue
        body = ast.parse(inspect.cleandoc(inspect.getsource(base))).body[0]
        assert isinstance(body, ast.ClassDef)
        for field, below in zip(body.body, body.body[1:], strict=False):
            named = isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
            if named and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
                assert isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
                found[key_of(field.target.id)] = " ".join(str(below.value.value).split())
    return found


def summary(cls: type) -> str:
    """The first paragraph of a docstring, without its source."""
    text = " ".join((inspect.getdoc(cls) or "").partition("\n\n")[0].split())
    return as_yaml(text.partition(" Source: ")[0])


def type_words(hint: Any) -> str:
    """Type and allowed values: `whole number, 1 and more, or null`."""
    kind, ranges, optional = unwrap(hint)
    plain = {int: "whole number", float: "number", str: "text", bool: "`true`, `false`"}
    if get_origin(kind) is Literal:
        words = ", ".join(f"`{option}`" for option in get_args(kind))
    elif get_origin(kind) is tuple:
        items = get_args(kind)
        inner = type_words(items[0])
        words = f"list of: {inner}" if items[-1] is Ellipsis else f"list of {len(items)}: {inner}"
    elif get_origin(kind) is Mapping:
        words = "mapping"
    elif dataclasses.is_dataclass(kind):
        words = "section"
    else:
        words = plain.get(kind, "any value")
    return ", ".join([words, *map(str, ranges), *(["or `null`"] if optional else [])])


def default_of(field: "dataclasses.Field[Any]") -> str:
    """The default as YAML; empty without one."""
    value = field.default if field.default_factory is MISSING else field.default_factory()
    if value is MISSING:
        return ""
    if dataclasses.is_dataclass(value):
        return "its defaults"
    texts = {None: "null", True: "true", False: "false", (): "[]", "": '""'}
    if isinstance(value, dict) and not value:
        return "`{}`"
    text = (
        texts[value]
        if isinstance(value, bool) or value in (None, (), "")
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )
    return f"`{text}`"


def keys_of(cls: Any, prefix: str = "", shown: dict[type, str] | None = None) -> Iterator[Key]:
    """The keys of a dataclass, those of a section below its own; of a section that is `shown` already, only where."""
    hints, shown = hints_of(cls), {} if shown is None else shown
    for field in dataclasses.fields(cls):
        key = key_of(field.name)
        kind, _, _ = unwrap(hints[key])
        path = f"{prefix}{key}"
        meaning = meanings(cls).get(key, "")
        if not meaning and dataclasses.is_dataclass(kind):
            meaning = summary(kind)
        inner, below = kind, path
        if get_origin(kind) is Mapping and dataclasses.is_dataclass(get_args(kind)[1]):
            inner, below = get_args(kind)[1], f"{path}.{key.upper().removesuffix('S')}"
        if inner in shown:
            meaning = f"{meaning} The keys are those of `{shown[inner]}`."
        yield Key(name=path, type=type_words(hints[key]), default=default_of(field), meaning=as_yaml(meaning))
        if isinstance(inner, type) and dataclasses.is_dataclass(inner) and inner not in shown:
            shown[inner] = below
            yield from keys_of(inner, f"{below}.", shown)


def as_yaml(text: str) -> str:
    """Python's constants as a file has them."""
    for python, yaml in (("None", "null"), ("True", "true"), ("False", "false")):
        text = re.sub(rf"(?<!`)\b{python}\b(?!`)", f"`{yaml}`", text)
    return text


def cell(text: str) -> str:
    """A text in a table."""
    parts = text.replace("|", "\\|").split("`")
    return "`".join(part if i % 2 else part.replace("*", "\\*") for i, part in enumerate(parts)) or "—"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown."""
    lines = [head, ["---"] * len(head), *([cell(text) for text in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


# matrix.yaml


def readers(workload: Workload, path: str) -> str:
    """Stages whose own fingerprints cover a key under `controls` or `branches`."""
    top, section, *rest = path.split(".")
    key = ".".join([section, *rest])
    if top == "branches":
        chooses = row_choice(section_kinds(workload.branches)[section]) == rest[0]
        found = [stage.name for stage in workload.stages if section in stage.branches and not chooses]
    else:
        found = [stage.name for stage in workload.stages if {section, key} & set(stage.sections)]
    words = ", ".join(found) or NEVER
    return f"{words}; of rows that read it" if key in workload.row_controls else words


def rows_read(workload: Workload) -> str:
    """Stages that read the row."""
    return ", ".join(f"{stage.name} ({stage.row})" for stage in workload.stages if stage.row != "none")


def matrix_page(workload: Workload) -> str:
    """The page of matrix.yaml."""
    seeded = ", ".join(stage.name for stage in workload.stages if stage.seed)
    fields = {"workload": "workload_name", workload.rows_key: "rows"}
    covered = {
        "seeds": seeded,
        workload.rows_key: rows_read(workload),
        "controls": "as listed",
        "branches": "as listed",
    }
    covered |= {"axes": "as the control that it varies", "deviations": "as the control whose value it sets"}
    covered["workload"] = "all" if workload.name_in_fingerprints else NEVER
    words = {**meanings(Matrix), **meanings(Exclusion)}
    parts = [
        WRITTEN,
        "# matrix.yaml\n",
        "Every key is required where no default is given. *In the fingerprint of* names the stages whose jobs "
        "read the key; when it changes, these jobs and all that are made from their results run again, and no others. "
        f"The sections are those of the workload `{DEFAULT_WORKLOAD}`; another workload declares its own.\n",
        "## Top level\n",
        table(
            ("key", "", "meaning", "in the fingerprint of"),
            (
                (
                    f"`{key}`",
                    "optional" if key in OPTIONAL_KEYS else "required",
                    words.get(fields.get(key, key), ""),
                    covered.get(key, NEVER),
                )
                for key in top_keys(workload)
            ),
        ),
    ]
    for name in ("controls", "branches"):
        declared = getattr(workload, name)
        parts.append(f"## `{name}`\n")
        for section, kind in section_kinds(declared).items():
            prefix = f"{name}.{section}."
            off = " It may be left out: then it is off." if section in optional_sections(declared) else ""
            parts += [
                f"### `{name}.{section}`\n",
                f"{meanings(declared).get(section) or summary(kind)}{off}\n",
                table(
                    ("key", "type and allowed values", "meaning", "in the fingerprint of"),
                    (
                        (f"`{one.name}`", one.type, one.meaning, readers(workload, one.name))
                        for one in keys_of(kind, prefix)
                    ),
                ),
            ]
    parts += [
        f"## `{workload.rows_key}`\n",
        f"A row is `NAME: {{family: FAMILY, parameters}}`. Its parameters are in the fingerprints of the stages that "
        f"read the row: {rows_read(workload)}.\n",
    ]
    for family in workload.families:
        found = list(keys_of(family))
        parts += [f"### family `{family.family}`\n", f"{summary(family)}\n"]
        reasoned = [f"`{name}`" for name in family.deviating()]
        parts += [f"Needs an entry under `deviations` if it is set: {', '.join(reasoned)}.\n"] if reasoned else []
        parts.append(key_table(found) if found else "No parameters.\n")
    profile = [
        dataclasses.replace(
            one, type=f"list of {one.name}" if one.name in ("seeds", "rows") else "mapping", default=default
        )
        for one, default in zip(keys_of(Profile), ("as above", "all", "as above", "as above", ""), strict=True)
    ]
    lists = (
        ("`axes`", "An axis is `NAME: {key, values}`.", keys_of(Axis)),
        (
            "`exclude`, `include`",
            "Lists of entries `{rows, AXIS, seeds}`. An entry is about the cells that match all its keys.",
            [
                Key(name="rows", type=GLOBS, default="all", meaning="Rows, or families as `family:NAME`."),
                Key(name="AXIS", type=GLOBS, default="all", meaning="Values of the axis of this name."),
                Key(name="seeds", type=GLOBS, default="all", meaning="Seeds."),
            ],
        ),
        ("`deviations`", "A list of `{key, rows, reason}`, with `value` if the key is a control.", keys_of(Deviation)),
        ("`profiles.NAME`", "What a profile does not set is as above.", profile),
        (
            "`profiles.NAME.resources.STAGE`",
            "What a job of the stage needs. Never part of a fingerprint.",
            keys_of(Resources),
        ),
    )
    for title, text, keys in lists:
        parts += [f"## {title}\n", f"{text}\n", key_table(keys)]
    return "\n".join(parts)


def key_table(keys: Iterable[Key]) -> str:
    """Keys with their defaults."""
    head = ("key", "type and allowed values", "default", "meaning")
    return table(head, ((f"`{one.name}`", one.type, one.default or "required", one.meaning) for one in keys))


# Cluster files


def cluster_page() -> str:
    """The page of cluster files."""
    known = dict(backends().items())
    common = [one for one in keys_of(Cluster) if not one.name.startswith("sections")]
    parts = [
        WRITTEN,
        "# Cluster files\n",
        f"{summary(Cluster)} A file says `backend` and what differs from the defaults; `--set KEY=VALUE` sets a key on "
        "the command line. No key enters a fingerprint.\n",
        "## Keys of every backend\n",
        key_table(
            dataclasses.replace(one, type=", ".join(f"`{name}`" for name in known)) if one.name == "backend" else one
            for one in common
        ),
    ]
    for name, plugin in known.items():
        parts += [f"## `backend: {name}`\n", f"{summary(plugin.settings)}\n"]
        if plugin.defaults:
            differing = ", ".join(f"`{key}: {value:g}`" for key, value in plugin.defaults.items())
            parts.append(f"Defaults that differ for this backend: {differing}.\n")
        parts.append(key_table(keys_of(plugin.settings, f"{name}.")))
    return "\n".join(parts)


# Commands


def exit_code_table(codes: Mapping[int, str]) -> str:
    """Exit codes and what they mean."""
    return table(("exit code", "meaning"), ((str(code), meaning) for code, meaning in codes.items()))


def command_section(command: Command, program: Any) -> list[str]:
    """One command: what it does, its options and its examples."""
    parsed = program.commands[command.name]
    parent = program.make_context("echo-matrix", [], resilient_parsing=True)
    context = parsed.make_context(command.name, [], parent=parent, resilient_parsing=True)
    usage = " ".join(["echo-matrix", command.name, *parsed.collect_usage_pieces(context)])
    text = inspect.getdoc(command.function) or ""
    rows = [(f"`{name}`", words) for kind in ("argument", "option") for name, words in parsed.help_rows(context, kind)]
    examples = "\n".join(f"$ {line}  # {what}" if what else f"$ {line}" for line, what in command.examples)
    parts = [f"### {command.name}\n", f"`{usage}`\n", f"{text}\n", table(("argument or option", "meaning"), rows)]
    parts += ["Examples (words in capitals stand for names of the study):\n", f"```console\n{examples}\n```\n"]
    return [*parts, exit_code_table(command.exit_codes)] if command.exit_codes else parts


def commands_page() -> str:
    """The page of commands and exit codes."""
    program: Any = get_command(app)
    parts = [
        WRITTEN,
        "# Commands\n",
        "`echo-matrix COMMAND --help` (or `-h`) prints the same. `echo-matrix --version` prints the version, "
        "`echo-matrix --install-completion` installs completion of commands, options and names of the study for the "
        "current shell.\n",
        "## Exit codes\n",
        exit_code_table(EXIT_CODES),
    ]
    for group in Group:
        parts.append(f"## {group.value}\n")
        for command in find_commands():
            if command.group is group:
                parts += command_section(command, program)
    return "\n".join(parts)


# States and endings


def consequence(ending: Any) -> tuple[str, str]:
    """What an ending counts as, and what follows it while retries are left."""
    budgets = RetrySettings()
    after = verdict(ending, Charges(), budgets, progressed=False, share=None)
    budget_of = {"error": "error", "out_of_memory": "out_of_memory", "vanished": "vanished", "free": "free_in_a_row"}
    charged = [f"`retries.{name}`" for field, name in budget_of.items() if getattr(after.charges, field)]
    follows = {
        "done": "the job is done",
        "again": "a retry",
        "failed": "the job fails",
        "cancelled": "nothing until `retry`",
    }
    return ", ".join(charged) or "nothing", follows[after.next]


def states_page() -> str:
    """The page of states of jobs and endings of attempts."""
    endings = [
        (f"`{ending}`", meaning, *consequence(ending), "yes" if can_be_host_fault(ending) else "no")
        for ending, meaning in ENDING_MEANINGS.items()
    ]
    head = ("ending", "meaning", "counts against", "while retries are left", "may exclude its host")
    return "\n".join(
        [
            WRITTEN,
            "# States and endings\n",
            "## States of a job\n",
            "As `plan`, `status` and their `--json` name them.\n",
            table(("state", "meaning"), ((f"`{state}`", meaning) for state, meaning in STATE_MEANINGS.items())),
            "## Endings of an attempt\n",
            "As `explain`, `show`, `status --json` and the plain output of `run` name them. An attempt that left a "
            "checkpoint of a higher step than any before it sets all counts of its job back to zero.\n",
            table(head, endings),
        ]
    )


def index_page() -> str:
    """The list of the pages."""
    return "\n".join(
        [
            WRITTEN,
            "# Reference\n",
            "Written from the code, but for the last three, and checked by the tests to be what the code says.\n",
            "* [matrix.yaml](matrix.md): every key of a study",
            "* [Cluster files](cluster.md): every key of every backend",
            "* [Commands](commands.md): options, examples, exit codes",
            "* [States and endings](states.md): of jobs and of attempts",
            "* [Files of a report](report-files.md): tables, numbers, other forms",
            "* [Terms](terms.md): the words that the documentation uses",
            "* [How often limits miss](calibration.md): in simulated worlds, by `make calibrate`\n",
        ]
    )


def pages() -> dict[str, str]:
    """File name in docs/reference -> its text."""
    workload = load_workload(DEFAULT_WORKLOAD)
    return {
        "README.md": index_page(),
        "matrix.md": matrix_page(workload),
        "cluster.md": cluster_page(),
        "commands.md": commands_page(),
        "states.md": states_page(),
    }


def main() -> None:
    """Write all pages."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        print(f"wrote {FOLDER / name}", file=sys.stderr)


if __name__ == "__main__":
    main()
