"""Words that several messages share: counts with their noun, states with their reason, progress."""


def counted(number: int, noun: str, plural: str = "") -> str:
    """`1 job`, `2 jobs`; `plural` where an `s` is not enough."""
    return f"{number} {noun}" if number == 1 else f"{number} {plural or f'{noun}s'}"


def without_state(state: str, reason: str) -> str:
    """A reason for a line that names the state already: `cancelled; retry it` -> `retry it`."""
    rest = reason.removeprefix(state)
    return rest.lstrip(" ,:;") if rest != reason and (not rest or rest[0] in " ,:;") else reason


def state_words(state: str, reason: str) -> str:
    """`failed: why`; the reason alone where it begins with the state."""
    rest = without_state(state, reason)
    return f"{state}: {reason}" if reason and rest == reason else reason or state


def progress_words(step: int, of: int, phase: str) -> str:
    """`12/40 train`; the phase alone while the number of steps is not known."""
    return f"{step}/{of} {phase}" if of else phase
