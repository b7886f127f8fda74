"""From what a model said to four scores, or to a sentence that says what is wrong with it.

Around the JSON object a closed think-block and one code fence are tolerated, since models put them there unasked;
nothing else is, nor is any guess made about what was meant.
"""

import json
import math
import re
from collections.abc import Sequence
from typing import Any

from workloads.evaluation.judge_mask import Scores
from workloads.evaluation.vlm.rubric import BEST, SCORES

THOUGHT = re.compile(r"\A(?:.*?</think(?:ing)?>)", re.DOTALL | re.IGNORECASE)
"""Up to the end of a think-block at the beginning; the opening tag is often part of the prompt and not repeated."""

FENCE = re.compile(r"\A```[A-Za-z]*\s*\n(.*?)\n?\s*```\Z", re.DOTALL)
SHOWN = 60  # characters of a wrong value that are repeated


class Invalid(Exception):
    """An answer that cannot be used; the message tells the model what to change."""


def scores_of(text: str) -> Scores:
    """The scores of an answer.

    Raises:
        Invalid: no JSON object, other keys than the four, or a value that is no whole number in 0..5.
    """
    found = _object(_bare(text))
    keys = [key for key, _ in found]
    if sorted(keys) != sorted(SCORES):
        raise Invalid(f"its keys are {_short(repr(keys))}, but they must be exactly {', '.join(SCORES)}, each once")
    values = {key: _score(key, value) for key, value in found}
    return Scores(**values)


def _bare(text: str) -> str:
    stripped = THOUGHT.sub("", text, count=1).strip()
    fenced = FENCE.match(stripped)
    return fenced[1].strip() if fenced else stripped


def _object(text: str) -> Sequence[tuple[str, Any]]:
    """Keys and values in order, doubled ones included: `json` would keep the last in silence."""
    if not text:
        raise Invalid("it holds no JSON object")
    try:
        found = json.loads(text, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError) as error:
        raise Invalid(f"it is not one JSON object and nothing else ({_short(str(error))})") from error
    if not isinstance(found, _Pairs):
        raise Invalid(f"it is JSON, but {type(found).__name__} and not an object")
    return found


class _Pairs(list[tuple[str, Any]]):
    """A JSON object as it was written."""


def _score(key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Invalid(f"{key} is {_short(repr(value))}, which is no number")
    if not (0 <= value <= BEST) or not math.isfinite(value) or value != int(value):
        raise Invalid(f"{key} is {_short(repr(value))}, but it must be a whole number from 0 to {BEST}")
    return float(value)


def _short(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
