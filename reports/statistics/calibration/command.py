"""The command line of every calibration: simulate, write the table into a page, and fail where too much is wrong."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from reports.statistics.calibration.page import write_into

Simulate = Callable[[int, int], tuple[str, Sequence[str]]]
"""(studies of each world, processes) -> (table, what is wrong too often)."""


def calibration(
    module: str,
    about: str | None,
    studies: int,
    between: tuple[str, str],
    simulate: Simulate,
    arguments: Sequence[str] | None = None,
) -> int:
    """Run one; 1: something is wrong too often.

    Args:
        module: `python -m` of this name starts it.
        about: what it does, for `--help`.
        studies: of each world, by default.
        between: the lines of the page between which the table is written.
        simulate: makes the table.
        arguments: of the command line; None: those of the process.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=about)
    parser.add_argument("--studies", type=int, default=studies, help=f"of each world (default {studies})")
    parser.add_argument("--processes", type=int, default=2, help="side by side (default 2)")
    parser.add_argument("--write", type=Path, help="page to put the table into, between its marks")
    given = parser.parse_args(arguments)
    if given.studies < 1 or given.processes < 1:
        parser.error("--studies and --processes are 1 at least")
    table, wrong = simulate(given.studies, given.processes)
    if given.write is not None:
        write_into(given.write, table, between)
    print(f"\n{table}")
    for line in wrong:
        print(f"too often: {line}", file=sys.stderr)
    return 1 if wrong else 0
