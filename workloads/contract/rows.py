"""What a row of the matrix is: a frozen dataclass of a *family*, with its parameters, ranges and exclusions.

A row in matrix.yaml is `{family: NAME, parameters}`. A study subclasses `Row` once a family; the class says what the
row reads and how it differs between training and evaluation. Standard library only.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, TypeVar

from workloads.contract.fields import key_of, plain


class RowError(ValueError):
    """A row that cannot be: `key` is the parameter to change."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


@dataclass(frozen=True, kw_only=True)
class Row:
    """Base of all families. A parameter that is None is a part that the row does not have."""

    family: ClassVar[str]
    """Its name in matrix.yaml."""
    revision: ClassVar[int] = 1
    """Raised when the meaning of the family's computation changes: what read such a row is done again."""
    reference: ClassVar[bool] = False
    """A ceiling or floor: scored like the rows, but it trains nothing of its own and takes no rank."""
    declared: ClassVar[tuple[str, ...]] = ()
    """Parameters that, where they are true, need a line under `deviations` with the reason."""

    @property
    def reads(self) -> tuple[str, ...]:
        """Which of the workload's `row_controls` this row's computation reads."""
        return ()

    def evaluated(self) -> "Row":
        """What evaluation computes. Another name of a computation returns the row that it is."""
        return self

    def trained(self) -> "Row":
        """What training computes."""
        return self.evaluated()


AnyRow = TypeVar("AnyRow", bound=Row)


def resolved(row: Row) -> dict[str, Any]:
    """`row` as the plain object that is hashed and sent in a request: its family and all parameters."""
    values = {key_of(field.name): plain(getattr(row, field.name)) for field in fields(row)}
    return {"family": row.family, **values}


def row_from(families: Mapping[str, type[AnyRow]], raw: Mapping[str, Any]) -> AnyRow:
    """The row of a resolved object, e.g. `request.row`, of one of `families` by name.

    Raises:
        RowError: an unknown family or a combination that cannot be.
        TypeError: an unknown or missing parameter (the loader checks these before, with their lines).
    """
    parameters = dict(raw)
    family = parameters.pop("family", None)
    if family not in families:
        raise RowError("family", f"family is {family!r}; allowed: {', '.join(families)}")
    name_of = {key_of(field.name): field.name for field in fields(families[family])}
    values = {name_of.get(key, key): tuple(v) if isinstance(v, list) else v for key, v in parameters.items()}
    return families[family](**values)
