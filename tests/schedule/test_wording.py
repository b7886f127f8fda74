"""Messages count in the singular too, name a state once, and use no private words."""

import ast
import re
from pathlib import Path

import pytest

from orchestrator.wording import counted, progress_words, shortened, shortened_lines, state_words, without_state


@pytest.mark.parametrize(
    ("number", "words"), [(0, "0 jobs"), (1, "1 job"), (2, "2 jobs")], ids=["none", "one", "several"]
)
def test_a_count_has_its_noun(number: int, words: str) -> None:
    assert counted(number, "job") == words


def test_an_irregular_plural_is_given() -> None:
    assert [counted(number, "retry", "retries") for number in (1, 2)] == ["1 retry", "2 retries"]


def test_of_a_long_list_the_rest_is_counted() -> None:
    names = ["a", "b", "c"]
    assert [shortened(names, most) for most in (1, 2, 3)] == ["a and 2 more", "a, b and 1 more", "a, b, c"]
    assert shortened([], 3) == ""
    assert shortened_lines(names, 2, "rows") == ["a", "b", "  ... and 1 more rows"]
    assert shortened_lines(names, 3) == names


@pytest.mark.parametrize(
    ("state", "reason", "beside", "alone"),
    [
        ("done", "done", "", "done"),
        ("running", "", "", "running"),
        ("cancelled", "cancelled; retry it", "retry it", "cancelled; retry it"),
        ("retry", "retry after 2 attempts: vanished", "after 2 attempts: vanished", "retry after 2 attempts: vanished"),
        ("failed", "ended with an error", "ended with an error", "failed: ended with an error"),
        ("new", "newer code", "newer code", "new: newer code"),
    ],
)
def test_a_state_is_named_once(state: str, reason: str, beside: str, alone: str) -> None:
    assert (without_state(state, reason), state_words(state, reason)) == (beside, alone)


def test_steps_are_shown_once_their_number_is_known() -> None:
    assert [progress_words(0, 0, "starting"), progress_words(3, 40, "train")] == ["starting", "3/40 train"]


def texts(path: Path) -> list[tuple[int, str]]:
    """Line and text of the string constants of a file that are no docstrings; a value in an f-string is `{}`."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            words = [
                f"{{{ast.unparse(part.value)}}}" if isinstance(part, ast.FormattedValue) else ast.literal_eval(part)
                for part in node.values
            ]
            found.append((node.lineno, "".join(words)))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said | parts:
            found.append((node.lineno, node.value))
    return found


PLURAL = re.compile(r"\{[^}]*(?:len\(|count|number)[^}]*\} (?:jobs|attempts|cells|rows|paths|hosts|cases)\b")
SEVERAL = {
    "orchestrator/commands/logs/command.py",  # an ambiguous prefix matches two or more
    "orchestrator/schedule/failures.py",  # a single job has its own line
    "orchestrator/schedule/host_exclusion.py",
}
BY_HAND = re.compile(r"\{'' if [^}]*else 's'\}")
PRIVATE = re.compile(r"\b(?:booked|books|rubbish|teller|wishes|somebody|(?:the|its|no) driver)\b")


def test_no_message_counts_one_thing_in_the_plural_or_has_a_private_word(root: Path) -> None:
    found = []
    for path in sorted((root / "orchestrator").rglob("*.py")):
        name = str(path.relative_to(root))
        for line, text in texts(path):
            plural = BY_HAND.search(text) or (PLURAL.search(text) and name not in SEVERAL)
            if plural and name != "orchestrator/wording.py":
                found.append(f"{name}:{line}: {text}: count with orchestrator.wording.counted")
            if PRIVATE.search(text):
                found.append(f"{name}:{line}: {text}: use a word of the README's table of terms")
    assert not found, "\n".join(found)
