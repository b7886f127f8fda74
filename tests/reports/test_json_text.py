"""Laws of the JSON that reports write."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports.json_text import indented

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()


@settings(max_examples=40)
@given(st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=9))
def test_the_text_is_that_of_the_json_module(value: object) -> None:
    assert indented(value) == json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False)


@pytest.mark.parametrize("value", [float("nan"), [float("inf")], {"a": [{"b": float("-inf")}]}])
def test_a_number_that_is_not_finite_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        indented(value)
