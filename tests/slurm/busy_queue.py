"""A queue with a gap: jobs that leave two cpus free, and a job that waits for all and comes first."""

from dataclasses import dataclass

from slurm_site import Site

GAP_CPUS = 2


@dataclass(frozen=True, kw_only=True)
class BusyQueue:
    """Jobs of somebody else."""

    running: tuple[str, ...]
    """Numbers of those that leave the gap."""
    waiting: str
    """Of the one that waits for all cpus."""


def fill(site: Site, *, minutes: int, take_s: float, then_s: float) -> BusyQueue:
    """Make the queue busy: until the first have ended only what has a shorter time limit begins.

    Args:
        site: the test cluster, without jobs.
        minutes: time limit of those that run; SLURM promises all cpus to the one that waits from then on.
        take_s: what they really take.
        then_s: what the one that waits takes.
    """

    def submit(*options: str, sleep_s: float) -> str:
        given = ("--parsable", "--output=/dev/null", "--mem=100", *options, "--wrap", f"sleep {sleep_s:g}")
        return site.call("sbatch", *given)

    running = (
        submit("--nodelist=n1", "--cpus-per-task=4", f"--time={minutes}", sleep_s=take_s),
        submit("--nodelist=n2", f"--cpus-per-task={4 - GAP_CPUS}", f"--time={minutes}", sleep_s=take_s),
    )
    waiting = submit("--nodes=2", "--ntasks=2", "--cpus-per-task=4", "--time=60", sleep_s=then_s)
    return BusyQueue(running=running, waiting=waiting)
