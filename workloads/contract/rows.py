"""Row of the matrix: a frozen dataclass of its *family*, with the parameters as fields.

A row in matrix.yaml is `{family: NAME, parameters}`. A study subclasses `Row` for each family; the class says what its
rows read and how they differ between training and evaluation. Standard library only.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, TypeVar

from workloads.contract.fields import key_of, plain


class RowError(ValueError):
    """A row that is not valid; `key` is the parameter to change."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


@dataclass(frozen=True, kw_only=True)
class Row:
    """Base of all families."""

    family: ClassVar[str]
    """Its name in matrix.yaml."""
    revision: ClassVar[int] = 1
    """Increase it when the computation of the family changes its meaning: jobs that read such a row run again."""
    reference: ClassVar[bool] = False
    """A ceiling or floor: evaluated like the others, but it trains nothing of its own and is not ranked."""
    needs_deviation: ClassVar[tuple[str, ...]] = ()
    """Parameters that need a deviation with the reason when they are set: true, or a number other than 0. A family adds
    to those of what it derives from."""

    @classmethod
    def deviating(cls) -> tuple[str, ...]:
        """`needs_deviation` of the family and of all that it derives from."""
        return tuple(dict.fromkeys(name for kind in cls.__mro__ for name in vars(kind).get("needs_deviation", ())))

    @property
    def factors(self) -> Mapping[str, str]:
        """What the row is made of, `{"write": "grid", "read": "text"}`: the report compares rows by each of them."""
        return {}

    @property
    def reads(self) -> tuple[str, ...]:
        """The `row_controls` of the workload that this row's computation reads."""
        return ()

    def declared(self, controls: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
        """What the row decides by itself of what `RecordCheck.declared` names: name -> plain value.

        None: the row records nothing of that kind, and is not compared in it.

        Args:
            controls: the sections of a cell of this row, plain.
        """
        return {}

    def evaluated(self) -> "Row":
        """The row that evaluation computes; an alias returns the row that it stands for."""
        return self

    def trained(self) -> "Row":
        """The row that training computes."""
        return self.evaluated()


AnyRow = TypeVar("AnyRow", bound=Row)


def resolved(row: Row) -> dict[str, Any]:
    """`row` as a plain object, as in requests and fingerprints: its family and its parameters.

    Parameters with the mark `LATER` (`fields.py`) are left out at their default.
    """
    return {"family": row.family, **plain(row)}


def row_from(families: Mapping[str, type[AnyRow]], raw: Mapping[str, Any]) -> AnyRow:
    """The row of a plain object such as `request.row`; `families` are by name.

    Raises:
        RowError: an unknown family, or parameters that the family refuses.
        TypeError: an unknown or missing parameter.
    """
    parameters = dict(raw)
    family = parameters.pop("family", None)
    if family not in families:
        raise RowError("family", f"family is {family!r}; allowed: {', '.join(families)}")
    name_of = {key_of(field.name): field.name for field in fields(families[family])}
    values = {name_of.get(key, key): tuple(v) if isinstance(v, list) else v for key, v in parameters.items()}
    return families[family](**values)
