"""Patterns of names: globs, lists of them with commas, and for rows `family:NAME`."""

from collections.abc import Iterable

FAMILY = "family:"
"""Begins a pattern for all rows of a family."""


def is_glob(text: str) -> bool:
    """Whether a name is a glob."""
    return any(mark in text for mark in "*?[")


def split_names(texts: Iterable[str]) -> list[str]:
    """The names of texts that may each be a list with commas."""
    return [part.strip() for text in texts for part in text.split(",")]
