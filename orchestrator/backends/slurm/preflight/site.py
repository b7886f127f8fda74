"""What the site allows: read once at the start, so that nothing is submitted that it would refuse."""

import getpass
import math
import os
import pwd
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from orchestrator.backends.slurm.core.commands import SlurmSilent, ask, client_environment
from orchestrator.backends.slurm.core.states import JobState
from orchestrator.backends.slurm.preflight.limits import (
    ASSOCIATION_FORMAT,
    QOS_FORMAT,
    SINFO_FORMAT,
    Association,
    Partition,
    Qos,
    parse_associations,
    parse_configuration,
    parse_partitions,
    parse_qos,
    parse_shapes,
)
from orchestrator.backends.slurm.settings import SlurmSettings, SlurmStage

DEFAULT_ARRAY_SIZE = 1000
"""Elements of an array where the site does not say: SLURM's own default, less one."""
IMPLIED = {"limits": {"associations"}, "qos": {"associations"}, "wckeys": {"associations"}, "safe": {"limits"}}
"""What is enforced along with it: slurm.conf(5), AccountingStorageEnforce."""


@dataclass(frozen=True, kw_only=True)
class Site:
    """The limits of one cluster for this user."""

    array_size: int
    """Elements that one array may have."""
    submit: float
    """Jobs that this user may have in the queue and running; infinite where nobody says."""
    partitions: Mapping[str, Partition]
    user: str = ""
    version: str = ""
    job_count: float = math.inf
    """Jobs of all users that slurmctld keeps."""
    associations: tuple[Association, ...] = ()
    """The user's; empty where accounting is off or does not answer."""
    qos: Mapping[str, Qos] = field(default_factory=dict)
    enforced: frozenset[str] = frozenset()
    """Of the accounting: `associations`, `limits`, `qos`; what is not enforced is only written down."""
    silent: str = ""
    """Why the accounting does not answer; empty where it does, or where there is none."""
    has_accounting: bool = True
    chosen: Mapping[str, str] = field(default_factory=dict)
    """What the user's shell says for jobs that name none: `SBATCH_PARTITION` and the like, as sbatch will get them."""
    signals_preempted: bool = True
    """A job that has to give way gets the signal it asked for, on all its steps."""

    @property
    def default_partition(self) -> str | None:
        """Where jobs go that name none."""
        found = next((one.name for one in self.partitions.values() if one.is_default), None)
        return self.chosen.get("SBATCH_PARTITION") or found

    @property
    def default_account(self) -> str:
        """Whose jobs they are if they name none; empty where nobody says."""
        found = next((one.account for one in self.associations if one.is_default), "")
        return self.chosen.get("SBATCH_ACCOUNT") or found

    def association(self, account: str | None, partition: str | None) -> Association | None:
        """What holds for jobs of an account in a partition; None: the accounting says nothing of it."""
        wanted = account or self.default_account
        of_account = [one for one in self.associations if one.account == wanted]
        place = partition or self.default_partition
        own = [one for one in of_account if one.partition and one.partition == place]
        return next(iter(own or [one for one in of_account if not one.partition]), None)

    def qos_of(self, stage: SlurmStage) -> Qos | None:
        """The QOS that a stage's jobs get; None: nobody says."""
        association = self.association(stage.account, stage.partition)
        named = stage.qos or self.chosen.get("SBATCH_QOS") or (association.default_qos if association else "")
        return self.qos.get(named or "normal")

    def submit_as(self, stage: SlurmStage) -> float:
        """Jobs of a stage that may be in the queue and running; infinite where nobody says."""
        limits = [self.job_count]
        if "limits" in self.enforced:
            association, qos = self.association(stage.account, stage.partition), self.qos_of(stage)
            limits += [one.submit for one in (association, qos) if one is not None]
            place = self.partitions.get(stage.partition or self.default_partition or "")
            if place is not None and place.own_qos in self.qos:
                limits.append(self.qos[place.own_qos].submit)
        return min(limits)


def room(
    site: Site, slurm: SlurmSettings, stages: Collection[str], states: Mapping[str, JobState], ours: Collection[str]
) -> float:
    """How many jobs of ours may be in the queue and running: the lowest limit less what else the user has there.

    Args:
        site: its limits.
        slurm: whose accounts and partitions are used.
        stages: of the plan.
        states: of all jobs of the user, by ticket, as squeue lists them (an element of an array each).
        ours: tickets that the backend counts itself.
    """
    others = sum(1 for ticket, state in states.items() if state.phase != "ended" and ticket not in ours)
    limits = [site.submit_as(slurm.of(stage)) for stage in stages] or [site.submit_as(slurm.every)]
    return max(0.0, min(limits) - others)


def read_site() -> Site:
    """Ask SLURM for its limits. Where accounting is off or silent, nothing is known of what it limits.

    Raises:
        SlurmSilent: slurmctld does not answer.
    """
    configuration = parse_configuration(ask("scontrol", "show", "config"))
    partitions = parse_partitions(ask("scontrol", "--all", "show", "partition", "--oneliner"))
    try:
        shapes = parse_shapes(ask("sinfo", "--all", "--noheader", "--exact", f"--format={SINFO_FORMAT}"))
    except SlurmSilent:
        shapes = {}
    user = user_name()
    has_accounting = configuration.get("AccountingStorageType", "").endswith("slurmdbd")
    associations: tuple[Association, ...] = ()
    qos: dict[str, Qos] = {}
    silent = ""
    if has_accounting:
        cluster = configuration.get("ClusterName", "")
        who = ("user", user, "withassoc", *((f"cluster={cluster}",) if cluster else ()))
        try:
            associations = parse_associations(ask("sacctmgr", "-nP", "show", *who, f"format={ASSOCIATION_FORMAT}"))
            qos = parse_qos(ask("sacctmgr", "-nP", "show", "qos", f"format={QOS_FORMAT}"))
        except SlurmSilent as error:
            silent = " ".join(str(error).split())
    site = Site(
        # The largest index is one less.
        array_size=max(1, int(configuration.get("MaxArraySize", str(DEFAULT_ARRAY_SIZE + 1))) - 1),
        submit=math.inf,
        partitions={name: replace(one, shapes=shapes.get(name, ())) for name, one in partitions.items()},
        user=user,
        version=configuration.get("SLURM_VERSION", ""),
        job_count=float(configuration.get("MaxJobCount", "inf")),
        associations=associations,
        qos=qos,
        enforced=enforced(configuration.get("AccountingStorageEnforce", "")),
        silent=silent,
        has_accounting=has_accounting,
        chosen={name: value for name, value in client_environment().items() if name.startswith("SBATCH_")},
        signals_preempted="preempt_send_user_signal" in configuration.get("SlurmctldParameters", "").split(","),
    )
    return replace(site, submit=site.submit_as(SlurmStage()))


def enforced(text: str) -> frozenset[str]:
    """What `AccountingStorageEnforce` enforces, with what that implies."""
    found = {one.strip().lower() for one in text.split(",")} - {"", "none", "(null)"}
    if "all" in found:
        found |= IMPLIED.keys()
    for name in ("safe", "limits", "qos", "wckeys"):
        if name in found:
            found |= IMPLIED[name]
    return frozenset(found)


def user_name() -> str:
    """Who SLURM takes us for: the user of this process, whatever $USER says."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return getpass.getuser()
