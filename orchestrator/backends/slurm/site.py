"""What the site allows: read once at the start, so that nothing is submitted that it would refuse."""

import getpass
import math
from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.backends.slurm.commands import SlurmSilent, ask

FEW = 1000
"""Elements of an array where the site does not say: SLURM's own default, less one."""


@dataclass(frozen=True, kw_only=True)
class Partition:
    """A partition's limits; infinite where there is none."""

    name: str
    is_default: bool
    minutes: float
    nodes: float
    up: bool


@dataclass(frozen=True, kw_only=True)
class Site:
    """The limits of one cluster for this user."""

    array_size: int
    """Elements that one array may have."""
    submit: float
    """Jobs that this user may have in the queue and running; infinite where nobody says."""
    partitions: Mapping[str, Partition]

    @property
    def default_partition(self) -> str | None:
        """Where jobs go that name none."""
        return next((one.name for one in self.partitions.values() if one.is_default), None)


def read_site() -> Site:
    """Ask SLURM for its limits. Where accounting is off, nothing is known of `submit`.

    Raises:
        SlurmSilent: slurmctld does not answer.
    """
    configuration = parse_configuration(ask("scontrol", "show", "config"))
    partitions = parse_partitions(ask("scontrol", "show", "partition", "--oneliner"))
    array_size = int(configuration.get("MaxArraySize", str(FEW + 1))) - 1  # the largest index is one less
    try:
        own = ask("sacctmgr", "-nP", "show", "assoc", f"user={getpass.getuser()}", "format=maxsubmit,grpsubmit")
    except SlurmSilent:
        own = ""
    submit = min(parse_limits(own), float(configuration.get("MaxJobCount", "inf")))
    return Site(array_size=max(1, array_size), submit=submit, partitions=partitions)


def parse_configuration(text: str) -> dict[str, str]:
    """`scontrol show config`: key -> value."""
    found = {}
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if equals:
            found[key.strip()] = value.strip()
    return found


def parse_partitions(text: str) -> dict[str, Partition]:
    """`scontrol show partition --oneliner`: name -> limits."""
    found: dict[str, Partition] = {}
    for line in text.splitlines():
        fields = dict(word.split("=", 1) for word in line.split() if "=" in word)
        name = fields.get("PartitionName")
        if name is not None:
            found[name] = Partition(
                name=name,
                is_default=fields.get("Default") == "YES",
                minutes=parse_minutes(fields.get("MaxTime", "UNLIMITED")),
                nodes=float(fields["MaxNodes"]) if fields.get("MaxNodes", "").isdigit() else math.inf,
                up=fields.get("State", "UP") == "UP",
            )
    return found


def parse_minutes(text: str) -> float:
    """SLURM's `[days-]hours:minutes:seconds` in minutes; UNLIMITED is infinite."""
    if not text or not text[0].isdigit():
        return math.inf
    days, dash, rest = text.partition("-")
    if not dash:
        days, rest = "0", text
    parts = [int(part) for part in rest.split(":")]
    hours, minutes, seconds = [0, 0, 0, *parts][-3:] if not dash else [*parts, 0, 0][:3]
    return int(days) * 1440 + hours * 60 + minutes + seconds / 60


def parse_limits(text: str) -> float:
    """The largest limit of jobs over the user's associations (`account` picks one); infinite where none has any."""
    limits = []
    for line in text.splitlines():
        numbers = [float(field) for field in line.split("|") if field.isdigit()]
        limits.append(min(numbers, default=math.inf))
    finite = [limit for limit in limits if limit != math.inf]
    return max(finite, default=math.inf)
