"""What one kind of job asks for, against what the site allows. Pure.

What SLURM would accept and let wait for ever (a limit of time above the partition's, more nodes
than there are) counts like what it would refuse.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.backends.slurm.preflight.limits import Partition
from orchestrator.backends.slurm.preflight.misfit import Misfit, listed, nodes, quoted
from orchestrator.backends.slurm.preflight.site import Site
from orchestrator.backends.slurm.preflight.sizes import Ask, fits, short_of
from orchestrator.spec.lines import nearest
from orchestrator.spec.slurm import SlurmStage

TAKES_NONE = ("DRAIN", "INACTIVE")
SIZES = {"mem", "cpus-per-task", "gpus-per-node", "nodes", "gpus", "gres", "mem-per-cpu"}
"""Options of sbatch that change what a node must have."""


@dataclass(frozen=True, kw_only=True)
class Written:
    """Where something that is asked for is written, or is best written."""

    file: str
    key: str
    value: str = ""
    """As it is there."""

    def __str__(self) -> str:
        return f"{self.file}: {self.key}"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One kind of job: a stage's, or an allocation that is packed."""

    what: str
    """`stage train`, `an allocation`."""
    ask: Ask
    said: SlurmStage
    """Partition, account and QOS as they hold."""
    extra: Mapping[str, Any]
    """Options of sbatch, which hold above all."""
    places: Mapping[str, Written]
    """partition, account, qos, nodes, minutes, cpus, memory_gib, devices -> where it is written."""
    can_spread: bool
    """It could be on more nodes."""
    slack: int
    """Minutes that are asked for beyond those that are written."""
    shorter: str
    """The remedy for a limit of time that is too long; `{}` is the number."""

    def __getitem__(self, what: str) -> Written:
        return self.places[what]


def against(site: Site, asked: Asked) -> Iterator[Misfit]:
    """What of it does not fit."""
    if {"clusters", "M"} & asked.extra.keys():
        return  # it goes to another cluster, of which nothing is known here
    yield from _accounting(site, asked)
    named = [one.strip() for one in (asked.said.partition or site.default_partition or "").split(",")]
    if named == [""]:
        yield Misfit(
            says=f"{asked['partition']} is null, and SLURM has no default partition; there {_partitions(site)}",
            remedy=f"set {asked['partition'].key} to one of them",
        )
        return
    for name in named:
        if name not in site.partitions:
            yield Misfit(
                says=f"{asked['partition']} is {name!r}, which SLURM does not have{nearest(name, site.partitions)}; "
                f"there {_partitions(site)}",
                remedy="set it to one of them",
            )
    found = [list(_in_partition(site, asked, site.partitions[name])) for name in named if name in site.partitions]
    enough = [each for each in found if not any(one.refuses for one in each)]
    yield from next(iter(enough or found), [])  # of several partitions, one that can is enough


def _accounting(site: Site, asked: Asked) -> Iterator[Misfit]:
    said = asked.said
    if "associations" in site.enforced and not site.silent and site.has_accounting:
        accounts = sorted({one.account for one in site.associations})
        if not accounts:
            yield Misfit(
                says=f"SLURM's accounting knows no account of user {site.user!r}, and takes no job without one",
                remedy="ask the site for an account (`sacctmgr show user $USER withassoc` shows them)",
            )
            return
        if said.account is not None and said.account not in accounts:
            yield Misfit(
                says=f"{asked['account']} is {said.account!r}, which user {site.user!r} does not have"
                f"{nearest(said.account, accounts)}; there {listed(accounts)}",
                remedy=f"set it to one of them, or to null for {site.default_account or accounts[0]!r}",
            )
            return
    association = site.association(said.account, said.partition)
    if said.qos is not None and site.qos:
        allowed = sorted((association.qos if association and association.qos else None) or site.qos)
        if said.qos not in site.qos or ("qos" in site.enforced and said.qos not in allowed):
            yield Misfit(
                says=f"{asked['qos']} is {said.qos!r}, which SLURM does not have for this user"
                f"{nearest(said.qos, allowed)}; there {listed(allowed)}",
                remedy="set it to one of them, or to null",
                refuses="qos" in site.enforced,  # else SLURM takes the job, and the name does nothing
            )
    limits = {"MaxSubmitJobs": site.submit_as(said)}
    if association is not None and "limits" in site.enforced:
        limits["MaxJobs"] = association.jobs
    for limit in (name for name, jobs in limits.items() if jobs < 1):
        yield Misfit(
            says=f"SLURM's accounting lets user {site.user!r} have no job as account "
            f"{said.account or site.default_account!r}: {limit} is 0",
            remedy=f"set another {asked['account'].key}, or ask the site",
        )


def _in_partition(site: Site, asked: Asked, place: Partition) -> Iterator[Misfit]:
    if not place.up:
        refuses = place.state in TAKES_NONE
        what = "takes no jobs" if refuses else "takes jobs and starts none"
        yield Misfit(
            says=f"{asked['partition']}: partition {place.name!r} is {place.state}: it {what}",
            remedy=f"choose another, or wait until the site has it back; there {_partitions(site)}",
            refuses=refuses,
        )
    yield from _use(site, asked, place)
    yield from _time(site, asked, place)
    yield from _sizes(site, asked, place)


def _use(site: Site, asked: Asked, place: Partition) -> Iterator[Misfit]:
    """May account and QOS use the partition."""
    account, qos = asked.said.account or site.default_account, site.qos_of(asked.said)
    for what, name, allowed, denied in (
        ("account", account, place.accounts, place.denied_accounts),
        ("qos", qos.name if qos else "", place.qos, place.denied_qos),
    ):
        if name and (name in denied or (allowed is not None and name not in allowed)):
            only = f": it is for {quoted(sorted(allowed))}" if allowed is not None else ""
            yield Misfit(
                says=f"{asked['partition'].file}: partition {place.name!r} does not take jobs of "
                f"{'QOS' if what == 'qos' else what} {name!r}{only}",
                remedy=f"set another {asked[what].key} or {asked['partition'].key}",
            )


def _time(site: Site, asked: Asked, place: Partition) -> Iterator[Misfit]:
    if {"time", "t"} & asked.extra.keys():
        return
    limit, who = _longest(site, asked, place)
    if asked.ask.minutes <= limit:
        return
    most = math.floor(limit) - asked.slack
    shorter = [asked.shorter.format(most)] if most >= 1 else []
    more = f", and a job gets {asked.slack} more for its last words: {asked.ask.minutes}" if asked.slack else ""
    yield Misfit(
        says=f"{asked['minutes']} is {asked['minutes'].value}{more}, but {who} allows {limit:g} minutes",
        remedy=_remedy(site, asked, place, *shorter),
    )


def _longest(site: Site, asked: Asked, place: Partition) -> tuple[float, str]:
    """Minutes that a job may have there, and who says so."""
    qos, own = site.qos_of(asked.said), site.qos.get(place.own_qos)
    limits = [] if qos and "PartitionTimeLimit" in qos.flags else [(place.minutes, f"partition {place.name!r}")]
    if "limits" in site.enforced:
        limits += [(one.minutes, f"QOS {one.name!r}") for one in (qos, own) if one is not None]
        association = site.association(asked.said.account, place.name)
        if association is not None:
            limits.append((association.minutes, f"account {association.account!r}"))
    return min(limits, default=(math.inf, ""))


def _sizes(site: Site, asked: Asked, place: Partition) -> Iterator[Misfit]:
    ask = asked.ask
    most = _most_nodes(site, asked, place)
    there = sum(shape.nodes for shape in place.shapes) if place.shapes else math.inf
    if "nodes" not in asked.extra and ask.nodes > min(most, there):
        what = f"has {there:g}" if there <= most else f"allows {most:g} a job"
        yield Misfit(
            says=f"{asked['nodes']} is {ask.nodes}, but partition {place.name!r} {what}",
            remedy=_remedy(site, asked, place, f"set it to at most {min(most, there):g}"),
        )
        return
    if not place.shapes:
        return
    spread = [f"set {asked['nodes'].key} to more"] if asked.can_spread else []
    short = list(short_of(place, ask, asked.extra))
    for key, value, most_there in short:
        written = asked[key]
        detail = f" ({value}" + (f" on each of {ask.nodes} nodes)" if ask.nodes > 1 else ")")
        by_node = written.key.endswith(".gpus") or (ask.nodes == 1 and key != "memory_gib")
        yield Misfit(
            says=f"{written} is {written.value}{'' if by_node else detail}, but the largest node of partition "
            f"{place.name!r} has {most_there}",
            remedy=_remedy(site, asked, place, "lower it", *spread),
        )
    fitting = _fitting(asked, place)
    if not short and not SIZES & asked.extra.keys() and fitting < ask.nodes:
        gpus = sum(ask.gpus.values())
        yield Misfit(
            says=f"{asked['cpus'].file}: {asked['cpus'].key.rpartition('.')[0]} asks for {ask.cpus} cpus, "
            f"{ask.memory_mib} MiB and {gpus} gpus together on {nodes(ask.nodes)}; partition {place.name!r} has "
            f"{fitting:g} such",
            remedy=_remedy(site, asked, place, "lower one of them", *spread),
        )


def _most_nodes(site: Site, asked: Asked, place: Partition) -> float:
    qos = site.qos_of(asked.said)
    return math.inf if qos and "PartitionMaxNodes" in qos.flags else place.nodes


def _remedy(site: Site, asked: Asked, than: Partition, *ways: str) -> str:
    """What else can be done, with the other partitions that would do."""
    would = [
        one.name
        for one in site.partitions.values()
        if one is not than
        and one.up
        and asked.ask.minutes <= _longest(site, asked, one)[0]
        and asked.ask.nodes <= min(_most_nodes(site, asked, one), _fitting(asked, one))
        and not list(_use(site, asked, one))
    ]
    if would:
        return ", or ".join([*ways, f"choose another {asked['partition'].key}: {quoted(would)} would do"])
    return f"{', or '.join(ways) or 'ask the site'}; no other partition would do"


def _fitting(asked: Asked, place: Partition) -> float:
    """Nodes of a partition that can take a share; where nobody says what it has, any number."""
    return sum(shape.nodes for shape in place.shapes if fits(shape, place, asked.ask)) if place.shapes else math.inf


def _partitions(site: Site) -> str:
    default = site.default_partition
    return listed([*([default] if default else []), *sorted(site.partitions.keys() - {default})], default)
