"""`simulate`: how long a study takes on other hosts, by the placement that runs use."""

import re
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.backends.protocol import HostShare
from orchestrator.backends.registry import backend_plugin
from orchestrator.commands.command import Command, Group
from orchestrator.commands.options import BranchesOption, JsonOption, PlanOptions, RowsOption
from orchestrator.errors import PlanError
from orchestrator.plan.continued import as_chained, shorter_jobs
from orchestrator.plan.forecast import AHEAD
from orchestrator.plan.forecast_show import duration_words
from orchestrator.plan.select import select
from orchestrator.study import Study
from orchestrator.ui.terminal import print_json, told_if_slow
from orchestrator.wording import counted

if TYPE_CHECKING:
    from orchestrator.schedule.simulation import Schedule, SimulatedJob

HOSTS = re.compile(r"([1-9]\d{0,4})x(\d{1,4})(?:x([1-9]\d{0,4}))?")
CPUS_A_DEVICE = 16
"""Of a host whose cpus are not given."""
MEMORY_GIB = 1e9
"""Of a simulated host: memory is no limit."""
MIX_HOSTS = "8x8"
MOST_UNITS = 2_000_000
"""Cpus, and devices, of all hosts together: each is a number in memory."""

HostsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--hosts",
        metavar="COUNTxDEVICES[xCPUS]",
        help=f"Hosts, each with so many devices, and cpus (default: {CPUS_A_DEVICE} a device): 8x8, 2x0x64. Repeat it "
        "to compare. Default: this machine.",
    ),
]


def simulate(
    *,
    options: PlanOptions,
    rows: RowsOption = None,
    branches: BranchesOption = None,
    hosts: HostsOption = None,
    every: Annotated[bool, typer.Option("--all", help="Also jobs that are done, as if nothing were.")] = False,
    mix: Annotated[
        str | None,
        typer.Option(
            "--mix",
            metavar="NAME",
            help="In place of the study, jobs that are hard to schedule: gangs, heavy-tail or train-and-evaluate.",
        ),
    ] = None,
    draws: Annotated[
        int, typer.Option("--seeds", metavar="N", min=1, max=10_000, help="Schedules, each with its own draws.")
    ] = 1,
    wrong: Annotated[
        float,
        typer.Option(
            "--wrong",
            metavar="SIGMA",
            min=0.0,
            max=3.0,
            help="Sigma of the log-normal factor by which durations differ from the estimates. 0: they do not.",
        ),
    ] = 0.0,
    svg: Annotated[Path | None, typer.Option("--svg", metavar="FILE", help="Draw the first schedule.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show how long what is left would take on other hosts.

    The schedule is made by the code that places the jobs of a run, from the estimates that `plan` shows. It changes
    nothing, and needs none of the hosts.
    """
    for again, number in Counter(hosts or ()).items():
        if number > 1:
            raise PlanError(f"--hosts {again} is given twice; compare different hosts")
    if mix is None:
        study = options.open(rows=rows)
        limits: Mapping[str, int] = study.cluster.slots
        given = [(text, parsed_hosts(text)) for text in hosts or ()] or [("this machine", _own_hosts(study))]
        draw = _study_jobs(study, select(study.plan, rows, None, branches), every, wrong)
        name = f"{study.plan.study}, profile {study.plan.profile}"
    else:
        from orchestrator.schedule.mixes import MIXES

        if mix not in MIXES:
            raise PlanError(f"no mix {mix!r}; allowed: {', '.join(MIXES)}")
        told = {
            "--rows": rows,
            "--branches": branches,
            "--all": every,
            "--wrong": wrong,
            "KEY=VALUE": options.overrides,
        }
        if of_study := [name for name, value in told.items() if value]:
            raise PlanError(f"--mix takes the place of the study, so {', '.join(of_study)} would change nothing")
        given = [(text, parsed_hosts(text)) for text in hosts or (MIX_HOSTS,)]
        draw, name, limits = MIXES[mix], f"mix {mix}", {}
    with told_if_slow(lambda text: print(text, file=sys.stderr), "simulating"):
        found = [_simulated(text, one, draw, draws, limits) for text, one in given]
    if svg is not None:
        _draw(svg, found[0].schedules[0], given[0][1])
    if as_json:
        print_json({"version": 1, **({} if mix is None else {"mix": mix}), **_json(found)})
    else:
        print(_text(name, len(draw(0)), found))


COMMAND = Command(
    function=simulate,
    group=Group.RUN,
    position=5,
    examples=[
        ("echo-matrix simulate --hosts 8x8", "what is left, on 8 hosts of 8 devices"),
        ("echo-matrix simulate --hosts 8x8 --hosts 10x8 --all", "what 16 more devices would save"),
        ("echo-matrix simulate --hosts 2x0x64 --svg schedule.svg", "drawn, on two hosts without devices"),
        ("echo-matrix simulate --mix gangs --seeds 100 --json", "how near the bound the placement comes"),
    ],
)


@dataclass(frozen=True, kw_only=True)
class Simulated:
    """The schedules on one set of hosts."""

    name: str
    hosts: Sequence[HostShare]
    schedules: "Sequence[Schedule]"

    @property
    def ratios(self) -> list[float]:
        """Makespan over the lower bound of each schedule."""
        return [one.over_bound for one in self.schedules]

    @property
    def mean_s(self) -> float:
        """Mean makespan."""
        return statistics.fmean(one.makespan_s for one in self.schedules)

    @property
    def used(self) -> float:
        """Mean share of the devices, or without any of the cpus, that jobs held."""
        return statistics.fmean(one.share_used(self.hosts) for one in self.schedules)


def parsed_hosts(text: str) -> list[HostShare]:
    """The hosts of `--hosts`.

    Raises:
        PlanError: it is not `COUNTxDEVICES[xCPUS]`, or that is more than can be simulated.
    """
    found = HOSTS.fullmatch(text.strip())
    if found is None:
        raise PlanError(f"--hosts {text!r}; allowed: COUNTxDEVICES[xCPUS], such as 8x8 or 2x0x64")
    count, devices = int(found[1]), int(found[2])
    cpus = int(found[3]) if found[3] else CPUS_A_DEVICE * devices
    if not cpus:
        raise PlanError(f"--hosts {text!r}: hosts without devices need a number of cpus, such as {count}x0x64")
    if count * max(cpus, devices) > MOST_UNITS:
        much = f"{count * devices:,} devices and {count * cpus:,} cpus"
        raise PlanError(f"--hosts {text!r} has {much}; allowed: at most {MOST_UNITS:,} of each")
    share = HostShare(name="", cpus=cpus, devices=devices, memory_gib=MEMORY_GIB, group="cluster")
    return [replace(share, name=f"host-{n}") for n in range(count)]


def _own_hosts(study: Study) -> list[HostShare]:
    share = backend_plugin(study.cluster.backend).local_share(study.cluster)
    if share is None:
        raise PlanError(f"backend {study.cluster.backend} has no hosts of its own; say which, such as `--hosts 8x8`")
    return [share.host()]


def _study_jobs(
    study: Study, selected: frozenset[str], every: bool, wrong: float
) -> "Callable[[int], list[SimulatedJob]]":
    """The study's jobs by the seed of their durations."""
    from orchestrator.schedule.simulation import SimulatedJob, drawn_apart

    standings, forecaster = study.standings(), study.forecaster(anew=every)
    chosen = [
        job for job in study.plan.jobs.values() if job.id in selected and (every or standings[job.id].state in AHEAD)
    ]
    jobs = [
        SimulatedJob(
            id=job.id,
            stage=job.stage,
            resources=job.resources,
            seconds=estimate.seconds,
            estimate=estimate,
            inputs=job.inputs,
        )
        for job in as_chained(chosen, shorter_jobs(chosen))
        for estimate in [forecaster.of(study.plan.jobs[job.id])]
    ]
    if not jobs:
        raise PlanError("nothing is left to run; --all simulates all jobs, as if nothing were done")
    return lambda seed: drawn_apart(jobs, wrong, seed) if wrong else jobs


def _simulated(
    name: str,
    hosts: Sequence[HostShare],
    draw: "Callable[[int], list[SimulatedJob]]",
    seeds: int,
    limits: Mapping[str, int],
) -> Simulated:
    from orchestrator.schedule.simulation import simulate as schedule

    try:
        return Simulated(
            name=name, hosts=hosts, schedules=[schedule(draw(seed), hosts, limits) for seed in range(seeds)]
        )
    except ValueError as error:
        raise PlanError(f"{name}: {error}") from None


def _numbers(one: Simulated) -> dict[str, Any]:
    return {
        "mean": statistics.fmean(one.ratios),
        "worst": max(one.ratios),
        "per_seed": one.ratios,
        "makespan_s": [schedule.makespan_s for schedule in one.schedules],
        "bound_s": [schedule.bound_s for schedule in one.schedules],
        "used": one.used,
        "longest_wait_s": max(schedule.longest_wait_s for schedule in one.schedules),
    }


def _json(found: Sequence[Simulated]) -> dict[str, Any]:
    """One set of hosts: its numbers; several: a list of them."""
    numbers = [{"hosts": one.name, **_numbers(one)} for one in found]
    return numbers[0] if len(numbers) == 1 else {"compared": numbers}


def _text(name: str, jobs: int, found: Sequence[Simulated]) -> str:
    lines = [["hosts", "devices", "cpus", "takes", "at least", "in use", "saves"]]
    for one in found:
        less = found[0].mean_s - one.mean_s
        lines.append(
            [
                one.name,
                str(sum(host.devices for host in one.hosts)),
                str(sum(host.cpus for host in one.hosts)),
                duration_words(one.mean_s),
                duration_words(statistics.fmean(schedule.bound_s for schedule in one.schedules)),
                f"{one.used:.0%}",
                "" if one is found[0] else f"{'-' if less < 0 else ''}{duration_words(abs(less))}",
            ]
        )
    if len(found) == 1:
        lines = [line[:-1] for line in lines]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rows = ("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in lines)
    draws = len(found[0].schedules)
    said = f"{name}: {counted(jobs, 'job')}" + (f", mean of {draws} schedules" if draws > 1 else "")
    return "\n".join([said, "", *rows])


def _draw(path: Path, schedule: "Schedule", hosts: Sequence[HostShare]) -> None:
    """Write the chart: a strip for each device, or for each cpu of hosts without devices."""
    from reports.figures.gantt import Bar, gantt

    by_cpu = not any(host.devices for host in hosts)
    bars = [
        Bar(
            lane=one.host,
            slots=one.cpus if by_cpu else one.devices,
            begin_s=one.begin_s,
            end_s=one.end_s,
            kind=one.stage,
        )
        for one in schedule.attempts
    ]
    lanes = {host.name: host.cpus if by_cpu else host.devices for host in hosts}
    try:
        path.write_text(gantt(lanes, bars), encoding="utf-8")
    except OSError as error:
        raise PlanError(f"--svg {path}: {error.strerror or error}") from None
