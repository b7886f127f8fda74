"""What an attempt came to when all ranks of this node have ended: its result, or its ending and the words for it."""

import shutil
from collections.abc import Callable

from orchestrator.host.attempt import Attempt, failure_words
from orchestrator.host.endings import CLEAR, ending_of, telling_rank
from orchestrator.host.memory import GIB, oom_kills
from orchestrator.host.parts import all_words, bad_word
from orchestrator.host.patience import FULL
from workloads.contract.result import Result, read_result

WORDS_S = 120.0
"""For the words of the other nodes when this one's ranks have ended well: file systems show them late."""
CAUSE_S = 10.0
"""And when they have not: the cause may lie there."""
LEAST_FREE = 1 << 16  # bytes: a disk with less is full

End = tuple[str, str]
"""An ending and its detail."""


def came_to(attempt: Attempt, given_up: Callable[[], bool]) -> Result | End:
    """The result of an attempt that ended well on all its nodes, else how it ended; may wait for other nodes.

    A node that does not lead has no result: it ends with `ok`.

    Args:
        attempt: all its ranks on this node have ended.
        given_up: nobody waits for it any more.
    """
    part = attempt.part
    own = _own_end(attempt)
    if attempt.elsewhere is not None:
        return attempt.elsewhere
    if part.of > 1 and (part.leads or own is not None):
        clear = any(end.code in CLEAR for end in attempt.ends.values())
        within_s = WORDS_S if own is None else 0.0 if clear else CAUSE_S
        words = all_words(attempt.work, attempt.name, part, within_s, given_up)
        elsewhere = bad_word(words, attempt.first_failed_at)
        if elsewhere is not None and not clear:
            return elsewhere
        if own is None and len(words) < part.of - 1:
            silent = [index for index in range(1, part.of) if index not in words]
            return "vanished", f"node {silent[0]} of {part.of} has not said within {WORDS_S:.0f} s how its ranks ended"
    if own is not None:
        return own
    return _result_of(attempt) if part.leads else ("ok", "")


def _own_end(attempt: Attempt) -> End | None:
    """How the ranks of this node ended; None: well."""
    told = telling_rank(attempt.ends, attempt.first_failed)
    if told is None:
        return None
    oom_rose = oom_kills() > attempt.oom_before
    ending, detail = ending_of(attempt.ends[told], reason=attempt.reason, oom_rose=oom_rose)
    if attempt.reason == "memory":
        detail += (
            f" of {attempt.submission['resources']['memory_gib']} GiB (it used "
            f"{attempt.peak_bytes / GIB:.2f} GiB); raise resources.{attempt.request['stage']}.memory_gib"
        )
    words = [f"rank {told}" if attempt.part.world > 1 else "", attempt.detail or detail]
    words.append(failure_words(attempt.work, told))
    return ending, ": ".join(word for word in words if word)


def _result_of(attempt: Attempt) -> Result | End:
    try:
        result = read_result(attempt.work / "result.json")
    except (OSError, ValueError) as error:
        if disk_is_full(attempt):
            return "interrupted", f"the disk of {attempt.work} is full, so there is no result: {error}"
        return "error", f"exit 0 without a result: {error}"
    return result if result.ending == "ok" else ("error", f"exit 0, but result.json says {result.ending}")


def disk_is_full(attempt: Attempt) -> bool:
    """Whether nothing more can be written where the attempt's folder is."""
    try:
        return shutil.disk_usage(attempt.work).free < LEAST_FREE
    except OSError as error:
        return error.errno in FULL
