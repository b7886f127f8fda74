"""A study of a user's own, in a folder outside the package: docs/tutorials/add-a-mechanism.md as its reader has it."""

import re
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]
ROWS = {
    "spatial-azimuth": "{family: spatial, write: cells, read: text, address: azimuth}",
    "fading": "{family: fading, decay: 0.8}",
    "running": "{family: running, decay: 0.5}",
}
"""One with an address of its own; two of a family of their own, the second with a state in the recurrent blocks."""


def page() -> str:
    """The tutorial's page."""
    return (CHECKOUT / "docs" / "tutorials" / "add-a-mechanism.md").read_text(encoding="utf-8")


def blocks() -> list[tuple[str, str]]:
    """File name and code, as often as the page shows it."""
    return re.findall(r"```python\n# (\S+)\n(.*?)```", page(), re.DOTALL)


def files() -> dict[str, str]:
    """File name -> the code that the page shows for it, where it shows a file twice the last."""
    return dict(blocks())


def write_own_study(folder: Path) -> Path:
    """Do what the page says, with all its rows, and return the matrix."""
    for name, text in files().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    workload = folder / "mystudy" / "workload.py"
    text = workload.read_text(encoding="utf-8").replace("with_families(Fading)", "with_families(Fading, Running)")
    workload.write_text("from mystudy.running import Running\n" + text, encoding="utf-8")
    return write_own_matrix(folder, ROWS)


def write_own_matrix(folder: Path, rows: Mapping[str, str]) -> Path:
    """The study's matrix with further `rows`, of the workload `mystudy.workload`."""
    matrix = (CHECKOUT / "matrix.yaml").read_text(encoding="utf-8")
    lines = "".join(f"  {name}: {row}\n" for name, row in rows.items())
    matrix = matrix.replace("\nmemory: ", "\nworkload: mystudy.workload\nmemory: ", 1)
    matrix = matrix.replace("  bound-truth:", lines + "  bound-truth:", 1)
    matrix = matrix.replace("  families: [context-k1,", f"  families: [{', '.join(rows)}, context-k1,", 1)
    matrix = matrix.replace("    rows: [context-k1,", f"    rows: [{', '.join(rows)}, context-k1,")
    path = folder / "matrix.yaml"
    path.write_text(matrix, encoding="utf-8")
    return path


@cache
def own_matrix() -> Path:
    """The matrix of such a study, whose package this process can import; the folder goes when the process ends."""
    folder = tempfile.TemporaryDirectory(prefix="own-study-")
    _HELD.append(folder)
    sys.path.append(folder.name)
    return write_own_study(Path(folder.name))


_HELD: list[tempfile.TemporaryDirectory[str]] = []
