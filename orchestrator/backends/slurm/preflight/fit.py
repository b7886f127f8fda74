"""Whether one kind of job fits what the site allows: every misfit with its remedy. Pure.

What SLURM would accept and let wait for ever (a time limit above the partition's, more nodes than
there are) counts like what it would refuse.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.backends.slurm.core.job_request import JobRequest
from orchestrator.backends.slurm.preflight.limits import Partition, Shape
from orchestrator.backends.slurm.preflight.requirements import JobKind
from orchestrator.backends.slurm.preflight.site import Site
from orchestrator.spec.lines import nearest
from orchestrator.wording import counted, shortened

SHOWN = 8
"""Names that are listed; the others are counted."""


@dataclass(frozen=True, kw_only=True)
class Misfit:
    """What keeps SLURM from running some jobs."""

    says: str
    """Where, what is there, and what is allowed."""
    remedy: str
    refuses: bool = True
    """False: it may pass by itself, or only surprise; nothing is refused for it."""

    def __str__(self) -> str:
        return f"{self.says}; {self.remedy}"


def nodes(number: int) -> str:
    """`1 node`, `2 nodes`."""
    return counted(number, "node")


def listed(names: Sequence[str], default: str | None = None) -> str:
    """`are 'long' (default), 'short'`."""
    return f"{'is' if len(names) == 1 else 'are'} {quoted(names, default)}"


def quoted(names: Sequence[str], default: str | None = None) -> str:
    """`'long' (default), 'short'`; of very many the first."""
    return shortened([repr(name) + (" (default)" if name == default else "") for name in names], SHOWN) or "none"


TAKES_NONE = ("DRAIN", "INACTIVE")
SIZES = {"mem", "cpus-per-task", "gpus-per-node", "nodes", "gpus", "gres", "mem-per-cpu"}
"""Options of sbatch that change what a node must have."""


def misfits_in(site: Site, kind: JobKind) -> Iterator[Misfit]:
    """What of it does not fit."""
    if {"clusters", "M"} & kind.extra.keys():
        return  # it goes to another cluster, of which nothing is known here
    yield from _accounting(site, kind)
    named = [one.strip() for one in (kind.where.partition or site.default_partition or "").split(",")]
    if named == [""]:
        yield Misfit(
            says=f"{kind['partition']} is null, and SLURM has no default partition; there {_partitions(site)}",
            remedy=f"set {kind['partition'].key} to one of them",
        )
        return
    for name in named:
        if name not in site.partitions:
            yield Misfit(
                says=f"{kind['partition']} is {name!r}, which SLURM does not have{nearest(name, site.partitions)}; "
                f"there {_partitions(site)}",
                remedy="set it to one of them",
            )
    found = [list(_in_partition(site, kind, site.partitions[name])) for name in named if name in site.partitions]
    enough = [each for each in found if not any(one.refuses for one in each)]
    yield from next(iter(enough or found), [])  # of several partitions, one that can is enough


def _accounting(site: Site, kind: JobKind) -> Iterator[Misfit]:
    where = kind.where
    if "associations" in site.enforced and not site.silent and site.has_accounting:
        accounts = sorted({one.account for one in site.associations})
        if not accounts:
            yield Misfit(
                says=f"SLURM's accounting knows no account of user {site.user!r}, and takes no job without one",
                remedy="ask the site for an account (`sacctmgr show user $USER withassoc` shows them)",
            )
            return
        if where.account is not None and where.account not in accounts:
            yield Misfit(
                says=f"{kind['account']} is {where.account!r}, which user {site.user!r} does not have"
                f"{nearest(where.account, accounts)}; there {listed(accounts)}",
                remedy=f"set it to one of them, or to null for {site.default_account or accounts[0]!r}",
            )
            return
    association = site.association(where.account, where.partition)
    if where.qos is not None and site.qos:
        allowed = sorted((association.qos if association and association.qos else None) or site.qos)
        if where.qos not in site.qos or ("qos" in site.enforced and where.qos not in allowed):
            yield Misfit(
                says=f"{kind['qos']} is {where.qos!r}, which SLURM does not have for this user"
                f"{nearest(where.qos, allowed)}; there {listed(allowed)}",
                remedy="set it to one of them, or to null",
                refuses="qos" in site.enforced,  # else SLURM takes the job, and the name does nothing
            )
    limits = {"MaxSubmitJobs": site.submit_as(where)}
    if association is not None and "limits" in site.enforced:
        limits["MaxJobs"] = association.jobs
    for limit in (name for name, jobs in limits.items() if jobs < 1):
        yield Misfit(
            says=f"SLURM's accounting lets user {site.user!r} have no job as account "
            f"{where.account or site.default_account!r}: {limit} is 0",
            remedy=f"set another {kind['account'].key}, or ask the site",
        )


def _in_partition(site: Site, kind: JobKind, place: Partition) -> Iterator[Misfit]:
    if not place.up:
        refuses = place.state in TAKES_NONE
        what = "takes no jobs" if refuses else "takes jobs and starts none"
        yield Misfit(
            says=f"{kind['partition']}: partition {place.name!r} is {place.state}: it {what}",
            remedy=f"choose another, or wait until the site has it back; there {_partitions(site)}",
            refuses=refuses,
        )
    yield from _use(site, kind, place)
    yield from _time(site, kind, place)
    yield from _sizes(site, kind, place)


def _use(site: Site, kind: JobKind, place: Partition) -> Iterator[Misfit]:
    """May account and QOS use the partition."""
    account, qos = kind.where.account or site.default_account, site.qos_of(kind.where)
    for what, name, allowed, denied in (
        ("account", account, place.accounts, place.denied_accounts),
        ("qos", qos.name if qos else "", place.qos, place.denied_qos),
    ):
        if name and (name in denied or (allowed is not None and name not in allowed)):
            only = f": it is for {quoted(sorted(allowed))}" if allowed is not None else ""
            yield Misfit(
                says=f"{kind['partition'].file}: partition {place.name!r} does not take jobs of "
                f"{'QOS' if what == 'qos' else what} {name!r}{only}",
                remedy=f"set another {kind[what].key} or {kind['partition'].key}",
            )


def _time(site: Site, kind: JobKind, place: Partition) -> Iterator[Misfit]:
    if {"time", "t"} & kind.extra.keys():
        return
    limit, who = _longest(site, kind, place)
    if kind.request.minutes <= limit:
        return
    most = math.floor(limit) - kind.slack
    shorter = [kind.shorter.format(most)] if most >= 1 else []
    more = f", and a job gets {kind.slack} more to record its end: {kind.request.minutes}" if kind.slack else ""
    yield Misfit(
        says=f"{kind['minutes']} is {kind['minutes'].value}{more}, but {who} allows {limit:g} minutes",
        remedy=_remedy(site, kind, place, *shorter),
    )


def _longest(site: Site, kind: JobKind, place: Partition) -> tuple[float, str]:
    """Minutes that a job may have there, and who says so."""
    qos, own = site.qos_of(kind.where), site.qos.get(place.own_qos)
    limits = [] if qos and "PartitionTimeLimit" in qos.flags else [(place.minutes, f"partition {place.name!r}")]
    if "limits" in site.enforced:
        limits += [(one.minutes, f"QOS {one.name!r}") for one in (qos, own) if one is not None]
        association = site.association(kind.where.account, place.name)
        if association is not None:
            limits.append((association.minutes, f"account {association.account!r}"))
    return min(limits, default=(math.inf, ""))


def _sizes(site: Site, kind: JobKind, place: Partition) -> Iterator[Misfit]:
    request = kind.request
    most = _most_nodes(site, kind, place)
    there = sum(shape.nodes for shape in place.shapes) if place.shapes else math.inf
    if "nodes" not in kind.extra and request.nodes > min(most, there):
        what = f"has {there:g}" if there <= most else f"allows {most:g} a job"
        yield Misfit(
            says=f"{kind['nodes']} is {request.nodes}, but partition {place.name!r} {what}",
            remedy=_remedy(site, kind, place, f"set it to at most {min(most, there):g}"),
        )
        return
    if not place.shapes:
        return
    spread = [f"set {kind['nodes'].key} to more"] if kind.can_spread else []
    short = list(short_of(place, request, kind.extra))
    for key, value, most_there in short:
        written = kind[key]
        detail = f" ({value}" + (f" on each of {request.nodes} nodes)" if request.nodes > 1 else ")")
        by_node = written.key.endswith(".gpus") or (request.nodes == 1 and key != "memory_gib")
        yield Misfit(
            says=f"{written} is {written.value}{'' if by_node else detail}, but the largest node of partition "
            f"{place.name!r} has {most_there}",
            remedy=_remedy(site, kind, place, "lower it", *spread),
        )
    fitting = _fitting(kind, place)
    if not short and not SIZES & kind.extra.keys() and fitting < request.nodes:
        gpus = sum(request.gpus.values())
        yield Misfit(
            says=f"{kind['cpus'].file}: {kind['cpus'].key.rpartition('.')[0]} asks for {request.cpus} cpus, "
            f"{request.memory_mib} MiB and {gpus} gpus together on {nodes(request.nodes)}; partition {place.name!r} "
            f"has {fitting:g} such",
            remedy=_remedy(site, kind, place, "lower one of them", *spread),
        )


def _most_nodes(site: Site, kind: JobKind, place: Partition) -> float:
    qos = site.qos_of(kind.where)
    return math.inf if qos and "PartitionMaxNodes" in qos.flags else place.nodes


def _remedy(site: Site, kind: JobKind, than: Partition, *ways: str) -> str:
    """What else can be done, with the other partitions that would do."""
    would = [
        one.name
        for one in site.partitions.values()
        if one is not than
        and one.up
        and kind.request.minutes <= _longest(site, kind, one)[0]
        and kind.request.nodes <= min(_most_nodes(site, kind, one), _fitting(kind, one))
        and not list(_use(site, kind, one))
    ]
    if would:
        return ", or ".join([*ways, f"choose another {kind['partition'].key}: {quoted(would)} would do"])
    return f"{', or '.join(ways) or 'ask the site'}; no other partition would do"


def _fitting(kind: JobKind, place: Partition) -> float:
    """Nodes of a partition that can take a share; where nobody says what it has, any number."""
    return sum(shape.nodes for shape in place.shapes if fits(shape, place, kind.request)) if place.shapes else math.inf


def _partitions(site: Site) -> str:
    default = site.default_partition
    return listed([*([default] if default else []), *sorted(site.partitions.keys() - {default})], default)


def short_of(place: Partition, request: JobRequest, extra: Mapping[str, object]) -> Iterator[tuple[str, str, str]]:
    """Key of resources, what is asked for, and the most that a node has, where that is less."""
    cpus = min(place.cpus, max(shape.cpus for shape in place.shapes))
    if request.cpus > cpus and "cpus-per-task" not in extra:
        yield "cpus", f"{request.cpus} cpus", f"{cpus:g}"
    memory = min(place.memory_mib, max(shape.memory_mib for shape in place.shapes))
    if request.memory_mib > memory and not {"mem", "mem-per-cpu"} & extra.keys():
        yield "memory_gib", f"{request.memory_mib} MiB", f"{memory:g}"
    if {"gpus", "gpus-per-node", "gres"} & extra.keys():
        return
    for gpu, number in request.gpus.items():
        gpus = max(shape.count(gpu) for shape in place.shapes)
        if number > gpus:
            kinds = sorted({name for shape in place.shapes for name in shape.gpus if name})
            of_kind = f" of type {gpu!r}; there are {', '.join(map(repr, kinds)) or 'none'}" if gpu else ""
            yield "devices", f"{number} gpus", f"{gpus}{of_kind}"


def fits(shape: Shape, place: Partition, request: JobRequest) -> bool:
    """Whether a node of this shape can take one node's share of a job."""
    return (
        request.cpus <= min(shape.cpus, place.cpus)
        and request.memory_mib <= min(shape.memory_mib, place.memory_mib)
        and all(number <= shape.count(gpu) for gpu, number in request.gpus.items())
    )
