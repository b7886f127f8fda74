"""Errors that a workload raises on purpose; any other exception is a bug."""


class Diverged(Exception):
    """A computation whose numbers left every sensible range: the same request would end so again.

    The message names the row, where it happened (step, case), the value and what to change.
    """


class BadInput(Exception):
    """Invalid input, which no retry can fix: the message names the file, the field, what is allowed and what to do."""
