"""The LaTeX tables compile with Debian's pdflatex, whatever the names of rows, units and studies are."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from made_input import made_input
from second_study import second_study

from reports.analysis import analyse
from reports.forms.latex import latex_files
from reports.input import ReportInput

PDFLATEX = shutil.which("pdflatex")
EVERY = "".join(map(chr, range(0x20, 0x180))) + "—–−±×…αΩδ中\N{GRINNING FACE}"


def hostile() -> ReportInput:
    """A study with rows, units and a name of every character that may be in a name."""
    made = second_study(cases=3)
    name = EVERY.replace("/", "")
    return replace(
        made,
        study=EVERY,
        rows=[replace(info, name=name) if info.name == "conv" else info for info in made.rows],
        values=[replace(v, row=name if v.row == "conv" else v.row, unit=EVERY) for v in made.values],
        missing=[],
    )


@pytest.mark.skipif(PDFLATEX is None, reason="pdflatex is not installed; `make test-root` installs Debian's")
@pytest.mark.parametrize("given", [made_input(seeds=(0, 1), cases=3), hostile()], ids=["ours", "hostile"])
def test_the_tables_compile(given: ReportInput, tmp_path: Path) -> None:
    files = latex_files(given, analyse(given))
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    command = [str(PDFLATEX), "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "all.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=300)
    assert done.returncode == 0, done.stdout[-3000:]
    assert (tmp_path / "all.pdf").read_bytes().startswith(b"%PDF-")
    assert f"({len(files) - 1} pages" in done.stdout.replace("\n", "")
    assert "Missing character" not in (tmp_path / "all.log").read_text(errors="replace")
