"""Builds a large report in a process of its own and prints what that takes: `build_report.py ROWS SEEDS CASES`."""

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

from big_input import big_input

from reports.build import build


def main(rows: int, seeds: int, cases: int) -> None:
    """Print processor seconds of `build`, peak MiB of the process with its input, and MB of the files."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        given = big_input(rows, seeds, cases, folder)
        began = time.process_time()
        build(folder / "report", given)
        taken = time.process_time() - began
        sizes = {path.name: path.stat().st_size / 1e6 for path in (folder / "report").iterdir()}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"values": len(given.values), "cpu_s": taken, "peak_mib": peak, "mb": sizes}))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]))
