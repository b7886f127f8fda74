"""Errors that a workload raises on purpose; any other exception is a bug."""


class BadInput(Exception):
    """Invalid input, which no retry can fix: the message names the file, the field, what is allowed and what to do."""
