"""One text for one value."""

from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.spec.canonical import canonical, digest

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False).map(lambda x: x + 0.0)
    | st.text(alphabet="abcé\u0301 /"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(alphabet="abc", max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(VALUES)
def test_the_order_of_keys_does_not_matter(value: object) -> None:
    def turned(v: object) -> object:
        if isinstance(v, dict):
            return {k: turned(v[k]) for k in reversed(list(v))}
        return [turned(item) for item in v] if isinstance(v, list) else v

    assert canonical(value) == canonical(turned(value))


def test_known_text() -> None:
    value = {"b": [1, 2.0, True, None], "a": {"é": 'x/"y'}}
    assert canonical(value) == '{"a":{"é":"x/\\"y"},"b":[1,2.0,true,null]}'


def test_composed_and_decomposed_letters_are_one() -> None:
    assert digest("e\u0301") == digest("é")


def test_one_and_one_point_zero_and_true_are_three() -> None:
    assert len({digest(1), digest(1.0), digest(True)}) == 3


class Colour(StrEnum):
    RED = "red"


@pytest.mark.parametrize("value", [{1: 2}, {"a": {1, 2}}, b"x", object(), Colour.RED, lambda: 0])
def test_what_has_no_canonical_form_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="has no canonical form"):
        canonical(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.0, {"e\u0301": 1, "é": 2}])
def test_numbers_and_keys_with_two_forms_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"canonical form|appears twice"):
        canonical(value)
