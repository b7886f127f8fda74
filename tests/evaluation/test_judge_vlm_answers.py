"""What counts as an answer: exactly four whole numbers, whatever a model wraps around them."""

import pytest
from vlm_server import scores

from workloads.evaluation.judge_mask import Scores
from workloads.evaluation.vlm.answers import Invalid, scores_of

GOOD = scores(5, 4, 3, 2)


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        f"\n  {GOOD}\n",
        f"```json\n{GOOD}\n```",
        f"```\n{GOOD}```",
        f"<think>It may be {{3}} or ```4```.</think>\n{GOOD}",
        f"The prompt opened the block itself.\n</think>\n\n```json\n{GOOD}\n```",
        scores(5.0, 4.0, 3.0, 2.0),
    ],
)
def test_four_whole_numbers_are_an_answer_in_a_fence_or_after_thinking_too(text: str) -> None:
    assert scores_of(text) == Scores(appearance=5.0, presence=4.0, view=3.0, scene=2.0)


def test_the_total_is_computed_by_us_from_the_four() -> None:
    assert scores_of(GOOD).total == pytest.approx(20 * (0.45 * 5 + 0.25 * 4 + 0.20 * 3 + 0.10 * 2))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no JSON object"),
        ("I am sorry, I cannot judge images.", "not one JSON object and nothing else"),
        (f"Here you are: {GOOD}", "not one JSON object and nothing else"),
        (f"{GOOD} I hope this helps.", "not one JSON object and nothing else"),
        (f"{GOOD}\n{GOOD}", "not one JSON object and nothing else"),
        ('{"appearance": 5, "presence": 4', "not one JSON object and nothing else"),
        ("[5, 4, 3, 2]", "list and not an object"),
        ("5", "int and not an object"),
        ('{"appearance": 5, "presence": 4, "view": 3}', "must be exactly appearance, presence, view, scene"),
        (GOOD.replace("}", ', "total": 90}'), "must be exactly appearance, presence, view, scene"),
        (GOOD.replace("}", ', "scene": 5}'), "each once"),
        (scores(6, 4, 3, 2), "appearance is 6, but it must be a whole number from 0 to 5"),
        (scores(5, -1, 3, 2), "presence is -1"),
        (scores(5, 4, 3.5, 2), "view is 3.5"),
        (GOOD.replace("2}", "NaN}"), "scene is nan"),
        (GOOD.replace("2}", "1e999}"), "scene is inf"),
        (GOOD.replace("2}", '"2"}'), "scene is '2', which is no number"),
        (GOOD.replace("2}", "true}"), "scene is True, which is no number"),
        (GOOD.replace("2}", "null}"), "scene is None, which is no number"),
        (GOOD.replace("2}", '{"score": 2}}'), "which is no number"),
        ("[" * 100_000, "not one JSON object and nothing else"),
    ],
)
def test_anything_else_is_refused_with_what_to_change(text: str, message: str) -> None:
    with pytest.raises(Invalid, match=message):
        scores_of(text)
