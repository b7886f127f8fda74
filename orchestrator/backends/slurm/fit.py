"""Whether the jobs of a plan fit what the site allows: every misfit with its remedy, before anything is submitted.

Pure. What SLURM would accept and let wait for ever (a limit of time above the partition's, more nodes
than there are) counts like what it would refuse.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from orchestrator.backends.slurm.batch import LIMIT_SLACK_MINUTES, SIGNAL_SLACK_S, extra_lines
from orchestrator.backends.slurm.limits import Partition
from orchestrator.backends.slurm.site import Site
from orchestrator.backends.slurm.sizes import Ask, ask_of, fits, short_of
from orchestrator.spec.cell import Resources
from orchestrator.spec.lines import nearest
from orchestrator.spec.slurm import Slurm, SlurmStage

SHOWN = 8
"""Names that are listed; the others are counted."""
TAKES_NONE = ("DRAIN", "INACTIVE")


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


def misfits(
    site: Site,
    slurm: Slurm,
    needs: Mapping[str, Collection[Resources]],
    *,
    cluster: str,
    matrix: str,
    grace_s: float,
) -> tuple[Misfit, ...]:
    """All that does not fit, each once.

    Args:
        site: what SLURM allows.
        slurm: the section of the cluster file.
        needs: stage -> what its jobs need, each size once.
        cluster: the cluster file, for people.
        matrix: the matrix, for people.
        grace_s: between being asked to stop and being killed.
    """
    found: list[Misfit] = []
    for name, sizes in needs.items():
        stage = _Stage(name, site, slurm, cluster, matrix, grace_s)
        for resources in sizes:
            found += stage.misfits(resources)
    return tuple(dict.fromkeys(found))


class _Stage:
    """One stage's jobs against the site."""

    def __init__(self, name: str, site: Site, slurm: Slurm, cluster: str, matrix: str, grace_s: float) -> None:
        said = slurm.of(name)
        self._extra = extra_lines(said.sbatch)
        # What is written in `sbatch` comes last in the script, and holds.
        given = {key: str(self._extra[key]) for key in ("partition", "account", "qos") if key in self._extra}
        self._said = replace(
            said,
            partition=given.get("partition", said.partition),
            account=given.get("account", said.account),
            qos=given.get("qos", said.qos),
        )
        self._own = slurm.stages.get(name, SlurmStage())
        self._name, self._site = name, site
        self._cluster, self._matrix, self._grace_s = cluster, matrix, grace_s

    def misfits(self, resources: Resources) -> Iterator[Misfit]:
        """What does not fit for jobs of one size."""
        if {"clusters", "M"} & self._extra.keys():
            return  # they go to another cluster, of which nothing is known here
        ask = ask_of(resources, self._said)
        yield from self._shares(resources, ask)
        yield from self._accounting()
        named = [one.strip() for one in (self._said.partition or self._site.default_partition or "").split(",")]
        if named == [""]:
            yield Misfit(
                says=f"{self._cluster}: {self._key('partition')} is null, and SLURM has no default partition; "
                f"there {self._partitions()}",
                remedy=f"set {self._key('partition')} to one of them",
            )
            return
        for name in named:
            if name not in self._site.partitions:
                yield Misfit(
                    says=f"{self._cluster}: {self._key('partition')} is {name!r}, which SLURM does not have"
                    f"{nearest(name, self._site.partitions)}; there {self._partitions()}",
                    remedy="set it to one of them",
                )
        there = [self._site.partitions[name] for name in named if name in self._site.partitions]
        found = [list(self._in_partition(one, resources, ask)) for one in there]
        enough = [each for each in found if not any(one.refuses for one in each)]
        yield from next(iter(enough or found), [])  # of several partitions, one that can is enough

    def _shares(self, resources: Resources, ask: Ask) -> Iterator[Misfit]:
        """What cluster file and matrix say against each other."""
        ranks = resources.world_size
        if ranks % ask.nodes:
            spread = ", ".join(str(number) for number in range(1, ranks + 1) if ranks % number == 0)
            yield Misfit(
                says=f"{self._cluster}: {self._key('nodes')} is {ask.nodes}, over which the {ranks} ranks of a job "
                f"cannot be spread evenly",
                remedy=f"set it to one of {spread}, or change resources.{self._name}.devices",
            )
        elif self._said.gpus and sum(ask.gpus.values()) * ask.nodes < resources.devices:
            yield Misfit(
                says=f"{self._cluster}: {self._key('gpus')} is {self._said.gpus!r}, on {_nodes(ask.nodes)} "
                f"{sum(ask.gpus.values()) * ask.nodes}, and a job has {resources.devices} ranks with one each",
                remedy=f"ask for {math.ceil(resources.devices / ask.nodes)} a node, or lower "
                f"resources.{self._name}.devices",
            )
        early_s = math.ceil(self._grace_s) + SIGNAL_SLACK_S
        if early_s >= ask.minutes * 60 and "time" not in self._extra:
            most = ask.minutes * 60 - SIGNAL_SLACK_S - 60
            remedy = f"at most {most}, or give " if most > 0 else "less, and give "
            yield Misfit(
                says=f"{self._cluster}: grace_s is {self._grace_s:g}, so a job is asked to stop {early_s} s before its "
                f"limit, but one of stage {self._name} has {ask.minutes * 60} s: it would be asked at once",
                remedy=f"set grace_s to {remedy}the stage more {self._minutes_key()[1]}",
            )

    def _accounting(self) -> Iterator[Misfit]:
        site, said = self._site, self._said
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
                    says=f"{self._cluster}: {self._key('account')} is {said.account!r}, which user {site.user!r} "
                    f"does not have{nearest(said.account, accounts)}; there {_listed(accounts)}",
                    remedy=f"set it to one of them, or to null for {site.default_account or accounts[0]!r}",
                )
                return
        association = site.association(said.account, said.partition)
        if said.qos is not None and site.qos:
            allowed = sorted((association.qos if association and association.qos else None) or site.qos)
            if said.qos not in site.qos or ("qos" in site.enforced and said.qos not in allowed):
                yield Misfit(
                    says=f"{self._cluster}: {self._key('qos')} is {said.qos!r}, which SLURM does not have for this "
                    f"user{nearest(said.qos, allowed)}; there {_listed(allowed)}",
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
                remedy=f"set another {self._key('account')}, or ask the site",
            )

    def _in_partition(self, place: Partition, resources: Resources, ask: Ask) -> Iterator[Misfit]:
        where = f"partition {place.name!r}"
        if not place.up:
            refuses = place.state in TAKES_NONE
            what = "takes no jobs" if refuses else "takes jobs and starts none"
            yield Misfit(
                says=f"{self._cluster}: {self._key('partition')}: {where} is {place.state}: it {what}",
                remedy=f"choose another, or wait until the site has it back; there {self._partitions()}",
                refuses=refuses,
            )
        yield from self._use(place)
        yield from self._time(place, resources, ask)
        yield from self._sizes(place, resources, ask)

    def _use(self, place: Partition) -> Iterator[Misfit]:
        """May account and QOS use the partition."""
        account = self._said.account or self._site.default_account
        if account and (account in place.denied_accounts or account not in (place.accounts or {account})):
            only = f": it is for {_names(sorted(place.accounts))}" if place.accounts is not None else ""
            yield Misfit(
                says=f"{self._cluster}: partition {place.name!r} does not take jobs of account {account!r}{only}",
                remedy=f"set another {self._key('account')} or {self._key('partition')}",
            )
        qos = self._site.qos_of(self._said)
        if qos is not None and (qos.name in place.denied_qos or qos.name not in (place.qos or {qos.name})):
            only = f": it is for {_names(sorted(place.qos))}" if place.qos is not None else ""
            yield Misfit(
                says=f"{self._cluster}: partition {place.name!r} does not take jobs of QOS {qos.name!r}{only}",
                remedy=f"set another {self._key('qos')} or {self._key('partition')}",
            )

    def _time(self, place: Partition, resources: Resources, ask: Ask) -> Iterator[Misfit]:
        if "time" in self._extra or "t" in self._extra:
            return
        qos, own = self._site.qos_of(self._said), self._site.qos.get(place.own_qos)
        limits = [] if qos and "PartitionTimeLimit" in qos.flags else [(place.minutes, f"partition {place.name!r}")]
        if "limits" in self._site.enforced:
            limits += [(one.minutes, f"QOS {one.name!r}") for one in (qos, own) if one is not None]
            association = self._site.association(self._said.account, place.name)
            if association is not None:
                limits.append((association.minutes, f"account {association.account!r}"))
        limit, who = min(limits, default=(math.inf, ""))
        if ask.minutes <= limit:
            return
        file, key = self._minutes_key()
        longer = [one.name for one in self._site.partitions.values() if one.minutes >= ask.minutes and one.up]
        remedies = [f"choose another {self._key('partition')}: {_names(longer)} would do"] if longer else []
        most = math.floor(limit) - LIMIT_SLACK_MINUTES
        if most >= 1:
            remedies.append(
                f"set slurm.stages.{self._name}.minutes in {self._cluster} to at most {most} (a job whose time is over "
                "goes on from its checkpoint in another)"
            )
        minutes = resources.minutes if self._said.minutes is None else self._said.minutes
        yield Misfit(
            says=f"{file}: {key} is {minutes:g}, and a job gets {LIMIT_SLACK_MINUTES} more for its last words: "
            f"{ask.minutes}, but {who} allows {limit:g} minutes",
            remedy=", or ".join(remedies) or f"ask the site for more than {limit:g} minutes",
        )

    def _sizes(self, place: Partition, resources: Resources, ask: Ask) -> Iterator[Misfit]:
        qos = self._site.qos_of(self._said)
        most = math.inf if qos and "PartitionMaxNodes" in qos.flags else place.nodes
        there = sum(shape.nodes for shape in place.shapes) if place.shapes else math.inf
        if "nodes" not in self._extra and ask.nodes > min(most, there):
            what = f"has {there:g}" if there <= most else f"allows {most:g} a job"
            yield Misfit(
                says=f"{self._cluster}: {self._key('nodes')} is {ask.nodes}, but partition {place.name!r} {what}",
                remedy=f"set it to at most {min(most, there):g}, or another {self._key('partition')}",
            )
            return
        if not place.shapes:
            return
        short = list(short_of(place, ask, self._extra))
        fitting = sum(shape.nodes for shape in place.shapes if fits(shape, place, ask))
        spread = f"more {self._key('nodes')} or " if resources.world_size > ask.nodes else ""
        other = f"{spread}another {self._key('partition')}"
        for key, value, most_there in short:
            own_gpus = key == "devices" and self._said.gpus is not None
            name = self._key("gpus") if own_gpus else f"resources.{self._name}.{key}"
            said = repr(self._said.gpus) if own_gpus else f"{getattr(resources, key):g}"
            if not own_gpus and (ask.nodes > 1 or key == "memory_gib"):
                said += f" ({value}" + (f" on each of {ask.nodes} nodes)" if ask.nodes > 1 else ")")
            yield Misfit(
                says=f"{self._cluster if own_gpus else self._matrix}: {name} is {said}, but the largest node of "
                f"partition {place.name!r} has {most_there}",
                remedy=f"lower it, or choose {other} with larger nodes",
            )
        overridden = self._extra.keys() & {"mem", "cpus-per-task", "gpus-per-node", "nodes", "gpus", "mem-per-cpu"}
        if not short and not overridden and fitting < ask.nodes:
            gpus = sum(ask.gpus.values())
            yield Misfit(
                says=f"{self._matrix}: resources.{self._name} asks for {ask.cpus} cpus, {ask.memory_mib} MiB and "
                f"{gpus} gpus together on {_nodes(ask.nodes)}; partition {place.name!r} has {fitting} such",
                remedy=f"lower one of them, or choose {other}",
            )

    def _key(self, field: str) -> str:
        """Where a field of the section is written, or is best written."""
        if field in self._extra:
            field = "sbatch"
        own = getattr(self._own, field) not in (None, ())
        return f"slurm.stages.{self._name}.{field}" if own else f"slurm.every.{field}"

    def _minutes_key(self) -> tuple[str, str]:
        """File and key of a stage's limit of time."""
        if self._said.minutes is not None:
            return self._cluster, self._key("minutes")
        return self._matrix, f"resources.{self._name}.minutes"

    def _partitions(self) -> str:
        default = self._site.default_partition
        return _listed([*([default] if default else []), *sorted(self._site.partitions.keys() - {default})], default)


def _nodes(number: int) -> str:
    return f"{number} node{'' if number == 1 else 's'}"


def _listed(names: Sequence[str], default: str | None = None) -> str:
    """`are 'long' (default), 'short'`."""
    return f"{'is' if len(names) == 1 else 'are'} {_names(names, default)}"


def _names(names: Sequence[str], default: str | None = None) -> str:
    shown = [repr(name) + (" (default)" if name == default else "") for name in names[:SHOWN]]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return (", ".join(shown) or "none") + more
