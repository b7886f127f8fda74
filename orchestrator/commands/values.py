"""Values of options and arguments that need no conversion but into a path.

typer leaves every conversion to pydantic, whose import takes a fifth of the time of `status`: with these it is imported
for numbers and choices that were given, and for what typer has to refuse.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_PLAIN_PATH = {
    "exists": False,
    "file_okay": True,
    "dir_okay": True,
    "writable": False,
    "readable": True,
    "resolve_path": False,
    "path_type": None,
    "parser": None,
}
"""How typer declares a path of which nothing special is asked."""


class PlainValues:
    """Stands before typer's own conversion of one parameter."""

    def __init__(self, parameter: Any) -> None:
        """`parameter`: of typer's."""
        self._parameter = parameter
        self._typers = parameter.get_runtime_param

    @classmethod
    def of(cls, parameters: Iterable[Any]) -> None:
        """Take the place of the conversions of these parameters."""
        for parameter in parameters:
            parameter.get_runtime_param = cls(parameter)._itself

    def _itself(self) -> "PlainValues":
        return self

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """The value as the command gets it.

        Raises:
            typer.BadParameter: it is not one.
        """
        kind, several = self._parameter.type_descriptor.annotation, param.multiple or param.nargs == -1
        if value is None:
            return () if several else None
        if self._parameter.type_descriptor.parameter_info.parser is None:
            if kind is str and isinstance(value, str) and not several:
                return value
            if kind == list[str] and isinstance(value, list | tuple) and all(isinstance(one, str) for one in value):
                return list(value)
            if kind is Path and self._is_plain_path(value) and not several:
                return Path(value)
            if type(value) is kind and kind in (int, float) and value == param.default:
                return value
        return self._typers().coerce(value, param=param, ctx=ctx)

    def _is_plain_path(self, value: Any) -> bool:
        """Whether `value` names a path that typer would let pass: one that can be read, or none."""
        info = self._parameter.type_descriptor.parameter_info
        if not isinstance(value, str | Path) or any(getattr(info, key) != asked for key, asked in _PLAIN_PATH.items()):
            return False
        return os.access(value, os.R_OK) or not Path(value).exists()
