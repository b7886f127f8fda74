"""docs/explanation/mechanisms.md: every row is on it, and every test that it cites is there."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "explanation" / "mechanisms.md").read_text(encoding="utf-8")
MATRIX = yaml.safe_load((ROOT / "matrix.yaml").read_text(encoding="utf-8"))
CITED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE)))


@pytest.mark.parametrize(("file", "name"), CITED)
def test_a_cited_test_is_there(file: str, name: str) -> None:
    source = (ROOT / file).read_text(encoding="utf-8")
    assert not name or re.search(rf"^def {name}\(", source, re.MULTILINE), f"{file} has no {name}"


@pytest.mark.parametrize("row", MATRIX["memory"])
def test_every_row_of_the_study_is_on_the_page(row: str) -> None:
    assert f"`{row}`" in PAGE


def test_every_claim_in_a_list_cites_a_test() -> None:
    claims = [part for part in PAGE.split("\n* ")[1:]]
    assert claims and all("`tests/" in claim.split("\n\n")[0] for claim in claims)
