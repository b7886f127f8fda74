"""Simulate many studies of each world, over several processes, and count what their limits miss."""

import multiprocessing
import sys
from collections.abc import Callable, Iterable, Sequence
from itertools import product

from reports.statistics.calibration.quantities import Outcome, Rate, outcomes, rates
from reports.statistics.calibration.worlds import CalibrationWorld, DrawnStudy, draw

CHUNK = 20
"""Studies that a process simulates at a time."""

Question = Callable[[DrawnStudy], Iterable[Outcome]]


def calibrate(
    worlds: Sequence[CalibrationWorld],
    studies: int,
    processes: int = 1,
    asked: Question = outcomes,
    told: Callable[[str], None] = lambda _: None,
) -> list[Rate]:
    """Miss rates of every quantity in every world.

    Args:
        worlds: where they are simulated.
        studies: of each world; the same ones in every call.
        processes: side by side; with one, here.
        asked: what is asked of a study; a function of a module.
        told: is told how far it is, as a line.
    """
    tasks = [(world, start, min(start + CHUNK, studies)) for world, start in product(worlds, range(0, studies, CHUNK))]
    found: dict[str, list[Outcome]] = {world.name: [] for world in worlds}
    pool = multiprocessing.get_context("spawn").Pool(processes) if processes > 1 else None
    try:
        arguments = ((asked, *task) for task in tasks)
        answers = map(_chunk, arguments) if pool is None else pool.imap(_chunk, arguments)
        for done, ((world, _, _), answer) in enumerate(zip(tasks, answers, strict=True), start=1):
            found[world.name] += answer
            told(f"{100 * done // len(tasks):3d} % of {studies} studies in each of {len(worlds)} worlds: {world.name}")
    finally:
        if pool is not None:
            pool.terminate()
    return [rate for world in worlds for rate in rates(world.name, found[world.name])]


def _chunk(task: tuple[Question, CalibrationWorld, int, int]) -> list[Outcome]:
    asked, world, start, stop = task
    return [outcome for number in range(start, stop) for outcome in asked(draw(world, number))]


def progress_line(text: str) -> None:
    """Show how far it is on the terminal's last line; in a file, nothing but the end."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()
