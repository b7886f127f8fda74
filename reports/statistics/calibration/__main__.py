"""`make calibrate`: how often the report's limits miss, in simulated worlds; writes the table of the documentation."""

import argparse
import sys
from pathlib import Path

from reports.statistics.calibration.page import markdown, too_often, write_into
from reports.statistics.calibration.run import calibrate, progress_line
from reports.statistics.calibration.worlds import WORLDS

STUDIES, QUICK = 600, 20


def main() -> int:
    """Simulate, print what misses too often, and write the table where one is asked for; 1: something does."""
    parser = argparse.ArgumentParser(prog="python -m reports.statistics.calibration", description=__doc__)
    parser.add_argument("--studies", type=int, default=STUDIES, help=f"of each world (default {STUDIES})")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} studies of each world: to see that it runs")
    parser.add_argument("--processes", type=int, default=2, help="side by side (default 2)")
    parser.add_argument("--world", default="", help="only worlds with this in their name")
    parser.add_argument("--write", type=Path, help="page to put the table into, between its marks")
    given = parser.parse_args()
    worlds = [world for world in WORLDS if given.world in world.name]
    studies = QUICK if given.quick else given.studies
    if not worlds or studies < 1 or given.processes < 1:
        named = "; ".join(world.name for world in WORLDS)
        parser.error(f"studies and processes are 1 at least, and worlds are: {named}")
    found = calibrate(worlds, studies, given.processes, told=progress_line)
    table = f"{studies} studies of each world.\n\n{markdown(found)}"
    if given.write is not None:
        write_into(given.write, table)
    print(f"\n{table}")
    often = [rate for rate in found if too_often(rate)]
    for rate in often:
        print(f"misses too often: {rate.quantity} in {rate.world}: {rate.missed} of {rate.printed}", file=sys.stderr)
    return 1 if often and not given.quick else 0


if __name__ == "__main__":
    sys.exit(main())
