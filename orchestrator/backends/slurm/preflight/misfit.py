"""What keeps SLURM from running some jobs, in words."""

from collections.abc import Sequence
from dataclasses import dataclass

SHOWN = 8
"""Names that are listed; the others are counted."""


@dataclass(frozen=True, kw_only=True)
class Misfit:
    """What keeps SLURM from running some jobs."""

    says: str
    """Where, what is there, and what is allowed."""
    remedy: str
    refuses: bool = True
    """False: it may pass by itself, or only surprise; nothing is refused for it."""

    def __str__(self) -> str:
        return f"{self.says}; {self.remedy}"


def nodes(number: int) -> str:
    """`1 node`, `2 nodes`."""
    return f"{number} node{'' if number == 1 else 's'}"


def listed(names: Sequence[str], default: str | None = None) -> str:
    """`are 'long' (default), 'short'`."""
    return f"{'is' if len(names) == 1 else 'are'} {quoted(names, default)}"


def quoted(names: Sequence[str], default: str | None = None) -> str:
    """`'long' (default), 'short'`; of very many the first."""
    shown = [repr(name) + (" (default)" if name == default else "") for name in names[:SHOWN]]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return (", ".join(shown) or "none") + more
