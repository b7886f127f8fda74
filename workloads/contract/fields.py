"""Field types of sections: annotated types with ranges, and sections as plain values.

A section of matrix.yaml is a frozen dataclass whose fields are annotated with `int`, `float`, `bool`, `str`, a
`Literal` of texts or of whole numbers, one of them with a `Range`: `steps: Annotated[int, Range(1)]`, a tuple of these,
or one of these `| None`. The orchestrator reads YAML by these annotations, so a key is declared once; any other type is
refused. Standard library only.
"""

from dataclasses import dataclass, fields
from typing import Annotated, Any


@dataclass(frozen=True)
class Range:
    """Allowed numbers: `low` to `high`, both included unless `above`."""

    low: float
    high: float | None = None
    above: bool = False
    """`low` itself is excluded."""

    def holds(self, value: float) -> bool:
        """Whether `value` is allowed."""
        low = value > self.low if self.above else value >= self.low
        return low and (self.high is None or value <= self.high)

    def __str__(self) -> str:
        if self.high is not None:
            return f"{self.low} to {self.high}"
        return f"above {self.low}" if self.above else f"{self.low} and more"


Count = Annotated[int, Range(1)]
Natural = Annotated[int, Range(0)]
Share = Annotated[float, Range(0, 1)]
Positive = Annotated[float, Range(0, above=True)]
NonNegative = Annotated[float, Range(0)]


def key_of(name: str) -> str:
    """The key of a dataclass field: `return_` stands for `return`, a keyword of Python."""
    return name.removesuffix("_")


def plain(section: Any) -> Any:
    """A section as dictionaries, lists and scalars, as in requests and fingerprints."""
    if isinstance(section, tuple):
        return [plain(item) for item in section]
    if hasattr(section, "__dataclass_fields__"):
        return {key_of(f.name): plain(getattr(section, f.name)) for f in fields(section)}
    return section
