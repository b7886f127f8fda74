"""What an audit has checked, what differs, and what it could not check."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Verdict = Literal["right", "differs", "open"]


@dataclass(frozen=True, kw_only=True)
class Mismatch:
    """One difference between what is recorded and what is there."""

    where: str
    expected: str
    found: str
    means: str = ""
    """What follows from it; empty: it says so itself."""


@dataclass(frozen=True, kw_only=True)
class AuditCheck:
    """One check of a crate."""

    name: str
    says: str
    """What was checked, and how many."""
    differences: Sequence[Mismatch] = ()
    unchecked: Sequence[str] = ()
    """What should have been checked and could not be, and why."""
    notes: Sequence[str] = ()
    """What to know of it; nothing is wrong with these."""

    @property
    def verdict(self) -> Verdict:
        """The outcome: a difference counts more than something that could not be checked."""
        return "differs" if self.differences else "open" if self.unchecked else "right"

    @property
    def document(self) -> dict[str, Any]:
        """As JSON values."""
        return {"verdict": self.verdict, **asdict(self)}
