"""Command registry: each module of this package, or `command.py` of a subpackage, declares its command as `COMMAND`."""

import ast
import dataclasses
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

from orchestrator import commands

EXIT_CODES: Mapping[int, str] = {
    0: "success",
    1: "something failed, or is not done",
    2: "bad input; nothing was started",
    130: "interrupted; the same command continues",
}
"""Of every command, unless its own `exit_codes` say more."""

DECLARATION = "COMMAND = Command("
"""How a module declares its command."""


class Group(Enum):
    """Headings of `echo-matrix --help`, in this order."""

    RUN = "Run the study"
    INSPECT = "Inspect the study"
    RESULTS = "Results"
    MAINTENANCE = "Maintenance"


@dataclass(frozen=True, kw_only=True)
class Command:
    """One command; its name is that of the function, its help the function's docstring."""

    function: Callable[..., None]
    group: Group
    position: int
    """Position in the group."""
    examples: Sequence[tuple[str, str]]
    """Command line, and what it does (may be empty)."""
    exit_codes: Mapping[int, str] = field(default_factory=dict)
    """If they mean more than `EXIT_CODES` says."""

    @property
    def name(self) -> str:
        """As it is typed."""
        return self.function.__name__

    @property
    def epilog(self) -> str:
        """The end of `COMMAND --help`: examples and exit codes."""
        width = max(len(line) for line, _ in self.examples)
        lines = ["Examples:", *(f"  {line:<{width}}  {what}".rstrip() for line, what in self.examples)]
        if self.exit_codes:
            lines += ["", exit_codes_text(self.exit_codes)]
        return "\n".join(lines)


def exit_codes_text(codes: Mapping[int, str]) -> str:
    """Exit codes, as the end of a help."""
    return "\n".join(["Exit codes:", *(f"  {code:<3}  {what}" for code, what in codes.items())])


@dataclass(frozen=True, kw_only=True)
class DeclaredCommand:
    """A command as its source declares it: what `echo-matrix --help` shows, without importing the module."""

    module: str
    name: str
    group: Group
    position: int
    summary: str
    """The first paragraph of its help."""

    def load(self) -> Command:
        """The command; imports its module."""
        return _imported(self.module)


@cache
def declared_commands() -> tuple[DeclaredCommand, ...]:
    """All commands, in the order of `--help`.

    They are read and not imported: the modules of all commands take half a second.
    """
    found: list[DeclaredCommand] = []
    for info in pkgutil.iter_modules(commands.__path__):
        source = _source_of(info.name)
        declared = None if source is None else _declared(*source)
        found += [] if declared is None else [declared]
    groups = list(Group)
    return tuple(sorted(found, key=lambda one: (groups.index(one.group), one.position, one.name)))


def find_command(name: str) -> Command:
    """The command of this name; imports its module, which has the same name.

    Raises:
        KeyError: there is none.
    """
    module, source = (_source_of(name) if name.isidentifier() else None) or ("", "")
    if f"\n{DECLARATION}" not in source:
        raise KeyError(name)
    return _imported(module)


def find_commands() -> list[Command]:
    """All commands, in the order of `--help`; imports their modules."""
    return [one.load() for one in declared_commands()]


def _imported(module: str) -> Command:
    command = importlib.import_module(module).COMMAND
    assert isinstance(command, Command)
    return command


def _source_of(name: str) -> tuple[str, str] | None:
    """Full name and source of the module of this package, or of `command.py` of the subpackage; None: there is none."""
    for module in (name, f"{name}.command"):
        path = Path(commands.__path__[0], *module.split(".")).with_suffix(".py")
        if path.is_file():
            return f"{commands.__name__}.{module}", path.read_text(encoding="utf-8")
    return None


def _declared(module: str, source: str) -> DeclaredCommand | None:
    """The command of a module's source; None: it declares none."""
    if f"\n{DECLARATION}" not in source:
        return None
    tree = ast.parse(source)
    (call,) = (
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Call)
        and ast.unparse(node).startswith(DECLARATION)
    )
    values = {one.arg: one.value for one in call.keywords}
    name = ast.unparse(values["function"])
    (function,) = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name)
    return DeclaredCommand(
        module=module,
        name=name,
        group=Group[ast.unparse(values["group"]).removeprefix("Group.")],
        position=ast.literal_eval(values["position"]),
        summary=" ".join((ast.get_docstring(function) or "").partition("\n\n")[0].split()),
    )


def flattened(function: Callable[..., None]) -> Callable[..., None]:
    """`function` as typer reads it: in place of each parameter that is a dataclass, the fields of that dataclass."""
    hints = get_type_hints(function, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if dataclasses.is_dataclass(hint)}
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(function).parameters.items():
        own = [(name, parameter.default, hints[name])]
        if name in groups:
            types = get_type_hints(groups[name], include_extras=True)
            own = [(one.name, one.default, types[one.name]) for one in dataclasses.fields(groups[name])]
        parameters += [
            inspect.Parameter(one, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)
            for one, default, hint in own
        ]

    def call(**given: Any) -> None:
        for name, group in groups.items():
            given[name] = group(**{one.name: given.pop(one.name) for one in dataclasses.fields(group)})
        function(**given)

    call.__name__, call.__doc__ = function.__name__, function.__doc__
    call.__annotations__ = {one.name: one.annotation for one in parameters}
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return call
