"""docs/explanation/pictures/: the files are what their script draws, and stand alone in light and dark."""

import importlib.util
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from reports.figures.style import VARIABLES

FOLDER = Path(__file__).parents[2] / "docs" / "explanation" / "pictures"
PICTURES = {
    "write": "write-address-read",
    "address": "write-address-read",
    "read": "write-address-read",
    "stream": "mechanisms",
}
"""Picture -> the page that shows it."""


@pytest.fixture(scope="module")
def drawn() -> dict[str, str]:
    spec = importlib.util.spec_from_file_location("pictures", FOLDER / "draw.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return dict(module.pictures())


def test_the_committed_files_are_what_the_script_draws(drawn: dict[str, str]) -> None:
    assert {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.svg")} == drawn


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_has_its_colours_for_light_and_dark_within(name: str) -> None:
    svg = (FOLDER / f"{name}.svg").read_text(encoding="utf-8")
    ElementTree.fromstring(svg)
    used = set(re.findall(r"var\(--([\w-]+)\)", svg))
    light, dark = svg.partition("prefers-color-scheme: dark")[::2]
    for part in (light, dark):
        assert used <= set(re.findall(r"--([\w-]+): #", part)) == set(VARIABLES.values())
    assert not re.findall(r"#0a0b0\w|(?:href|src)=\"http", svg)


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_says_in_words_what_it_shows(name: str) -> None:
    page = (FOLDER.parent / f"{PICTURES[name]}.md").read_text(encoding="utf-8")
    assert re.search(rf"!\[[^\]]{{30,}}\]\(pictures/{name}\.svg\)", page)
