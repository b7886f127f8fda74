"""Three tries for one score: what is asked again, what is waited for, and what is given up.

An invalid answer is asked again with what is wrong with it; no answer is asked again after a pause that doubles and
is jittered, or as long as the server wished. After the last try the score is missing, never zero.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from workloads.evaluation.judge_mask import Scores
from workloads.evaluation.vlm.answers import Invalid, scores_of
from workloads.evaluation.vlm.client import Reply, Transient
from workloads.evaluation.vlm.rubric import Turn, corrected

TRIES = 3
FIRST_PAUSE_S = 1.0
JITTER = 0.5  # of a pause, up or down
LONGEST_PAUSE_S = 60.0  # whatever a server wishes


class Model(Protocol):
    """What can be asked: `client.Client`."""

    def ask(self, turns: Sequence[Turn]) -> Reply:
        """One reply; raises `Transient`, and `BadInput` where no try can help."""
        ...


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What one score took."""

    requests: int = 0
    retries: int = 0
    """Of the requests, those after the first."""
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(
            requests=self.requests + other.requests,
            retries=self.retries + other.retries,
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
        )


@dataclass(frozen=True, kw_only=True)
class JudgeReply:
    """The end of one question."""

    scores: Scores | None
    """None: missing."""
    why: str
    """Why it is missing; empty if it is not."""
    spent: Spent
    reached: bool
    """Whether a server answered at all, if only to refuse."""
    stopped: bool = False
    """Given up because the job was asked to end: neither a score nor a missing one."""


def ask(
    model: Model,
    turns: Sequence[Turn],
    *,
    pause: Callable[[float], None],
    stopping: Callable[[], bool],
    jitter: random.Random,
) -> JudgeReply:
    """Ask until there is a valid answer, three times at most.

    Args:
        pause: waits for so many seconds, or less if the job is asked to end.
        stopping: looked at before every try but the first.
        jitter: for the pauses.

    Raises:
        BadInput: no try can help.
    """
    spent, reached, why = Spent(), False, ""
    again = list(turns)
    for attempt in range(TRIES):
        if attempt and stopping():
            return JudgeReply(scores=None, why="asked to end", spent=spent, reached=reached, stopped=True)
        spent += Spent(requests=1, retries=min(attempt, 1))
        try:
            reply = model.ask(again)
        except Transient as error:
            why, reached = str(error), reached or error.reached
            if attempt < TRIES - 1:
                pause(pause_s(attempt, error.retry_after_s, jitter))
            continue
        reached = True
        spent += Spent(prompt_tokens=reply.prompt_tokens, completion_tokens=reply.completion_tokens)
        try:
            scores = _scores(reply)
        except Invalid as error:
            why = f"invalid answer: {error}"
            again = corrected(turns, reply.text, str(error))
            continue
        return JudgeReply(scores=scores, why="", spent=spent, reached=True)
    return JudgeReply(scores=None, why=why, spent=spent, reached=reached)


def pause_s(attempt: int, wished_s: float | None, jitter: random.Random) -> float:
    """Seconds to wait after failed try `attempt` (0, 1, …): what the server wished, or a jittered, doubling pause."""
    if wished_s is not None:
        return min(wished_s, LONGEST_PAUSE_S)
    return min(FIRST_PAUSE_S * 2.0**attempt * jitter.uniform(1 - JITTER, 1 + JITTER), LONGEST_PAUSE_S)


def _scores(reply: Reply) -> Scores:
    if reply.ended == "content_filter":
        raise Invalid("it was withheld by a content filter")
    try:
        return scores_of(reply.text)
    except Invalid as error:
        if reply.ended == "length":
            raise Invalid(f"{error}; it was cut off at its longest") from error
        raise
