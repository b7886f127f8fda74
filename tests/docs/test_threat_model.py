"""Each line of the page on threats names a test that there is, or says that nothing protects."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "explanation" / "threat-model.md"
UNPROTECTED = "**not protected**"
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def lines() -> Iterator[tuple[str, str, str]]:
    """Threat, protection and test of each line of the tables that have a column of tests."""
    inside = False
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if not line.startswith("|"):
            inside = False
        elif cells[-1] == "test":
            inside = True
        elif inside and not line.startswith("|---"):
            threat, protection, *test = cells
            yield threat, protection, " ".join(test).strip(" |")


@cache
def defined_in(path: str) -> frozenset[str]:
    """The tests of a file."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def test_every_threat_has_a_test_that_exists_or_is_said_to_be_open() -> None:
    found = list(lines())
    assert len(found) > 40
    for threat, protection, test in found:
        named = NAMED.findall(test)
        assert named or (not test and UNPROTECTED in protection), f"{threat}: name a test, or say {UNPROTECTED}"
        assert NAMED.sub("", test).strip() == "", f"{threat}: the last column names tests alone"
        assert not [one for one in named if one[1] not in defined_in(one[0])], f"{threat}: {test} is not there"
