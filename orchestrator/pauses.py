"""Pauses between tries of what fails: each is twice the one before, up to a longest. Pure."""

import math


def pause_s(failures: int, first_s: float, longest_s: float) -> float:
    """Seconds to wait after so many failures in a row.

    Args:
        failures: 1 and more; a service may be away for days, so there is no largest number.
        first_s: after the first failure, above 0.
        longest_s: at most so long, not below `first_s`.
    """
    doublings = min(failures - 1, math.ceil(math.log2(longest_s / first_s)))  # more would overflow a float
    return min(longest_s, first_s * 2.0**doublings)
