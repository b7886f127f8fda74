"""The errors a workload raises on purpose; everything else is a fault of ours."""


class BadInput(Exception):
    """Input that no retry can mend: the message names file, field, what is allowed and what to do."""
