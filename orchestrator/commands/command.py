"""Command registry: each module of this package, or `command.py` of a subpackage, declares its command as `COMMAND`."""

import dataclasses
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, get_type_hints

from orchestrator import commands

EXIT_CODES: Mapping[int, str] = {
    0: "success",
    1: "something failed, or is not done",
    2: "bad input; nothing was started",
    130: "interrupted; the same command continues",
}
"""Of every command, unless its own `exit_codes` say more."""


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


def find_commands() -> list[Command]:
    """All commands, in the order of `--help`."""
    found: list[Command] = []
    for info in pkgutil.iter_modules(commands.__path__, f"{commands.__name__}."):
        module = importlib.import_module(f"{info.name}.command" if info.ispkg else info.name)
        if isinstance(command := getattr(module, "COMMAND", None), Command):
            found.append(command)
    groups = list(Group)
    return sorted(found, key=lambda command: (groups.index(command.group), command.position, command.name))


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
