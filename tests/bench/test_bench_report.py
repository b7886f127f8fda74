"""The report of about 1,000 cells: processor time, peak memory, and size of the page."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.bench

HERE = Path(__file__).parent


@pytest.mark.parametrize(("rows", "seeds", "cases"), [(20, 50, 100), (330, 3, 100)])
def test_report_of_a_thousand_cells(rows: int, seeds: int, cases: int) -> None:
    command = [sys.executable, str(HERE / "build_report.py"), *map(str, (rows, seeds, cases))]
    paths = os.pathsep.join([str(HERE.parents[1]), str(HERE.parent / "reports")])
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": paths}
    )
    found = json.loads(done.stdout)
    sizes = ", ".join(f"{name} {size:.1f} MB" for name, size in sorted(found["mb"].items()))
    print(
        f"\nreport of {rows} rows x {seeds} seeds x {cases} cases, {found['values']:,} values: "
        f"{found['cpu_s']:.1f} s of a processor, peak {found['peak_mib']:.0f} MiB, {sizes}"
    )
