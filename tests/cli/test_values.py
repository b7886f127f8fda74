"""Options that are converted without pydantic become what typer makes of them."""

from pathlib import Path
from typing import Any

import pytest
import typer
from typer.exceptions import TyperException

from orchestrator.cli import _Programs
from orchestrator.commands.command import declared_commands
from orchestrator.commands.values import PlainValues

GIVEN: tuple[Any, ...] = (
    None, "", " ", "-", "0", "07", "1.5", "nan", "true", "row", "seed", "a,b", "a/b", "no/such/file", "matrix.yaml",
    "~", (), ("a",), ("a", "b"), ["a"], Path("matrix.yaml"), 0, 1, 2.5, True,
)  # fmt: skip


def converted(parameter: Any, conversion: Any, value: Any, context: Any) -> object:
    """The value and its type, or what is said of it."""
    try:
        found = conversion.coerce(value, param=parameter, ctx=context)
    except TyperException as error:
        return str(error.format_message())
    except (AttributeError, TypeError) as error:  # a value that no command line gives
        return type(error)
    return type(found), repr(found)


@pytest.mark.parametrize("name", [one.name for one in declared_commands()])
def test_every_option_becomes_what_typer_makes_of_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "matrix.yaml").touch()
    command = _Programs()[name]
    context = typer.Context(command)
    for parameter in command.params:
        typers = parameter.get_runtime_param()
        PlainValues.of([parameter])
        ours = parameter.get_runtime_param()
        assert isinstance(ours, PlainValues)
        for value in (*GIVEN, parameter.default):
            expected = converted(parameter, typers, value, context)
            assert converted(parameter, ours, value, context) == expected, (parameter.name, value)
