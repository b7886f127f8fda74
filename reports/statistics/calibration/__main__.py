"""`make calibrate`: how often the report's limits miss, in simulated worlds; writes the table of the documentation."""

import sys
from collections.abc import Sequence

from reports.statistics.calibration.command import calibration
from reports.statistics.calibration.page import BEGIN, END, markdown, too_often
from reports.statistics.calibration.run import calibrate, progress_line
from reports.statistics.calibration.worlds import WORLDS

STUDIES = 600


def simulate(studies: int, processes: int) -> tuple[str, Sequence[str]]:
    """The table, and the limits that miss too often."""
    found = calibrate(WORLDS, studies, processes, told=progress_line)
    often = [rate for rate in found if too_often(rate)]
    return (
        f"{studies} studies of each world.\n\n{markdown(found)}",
        [f"misses of {rate.quantity} in {rate.world}: {rate.missed} of {rate.printed}" for rate in often],
    )


if __name__ == "__main__":
    sys.exit(calibration("reports.statistics.calibration", __doc__, STUDIES, (BEGIN, END), simulate))
