"""A site's limits, from what SLURM's commands print: text in, plain values out; no process is started here.

Sources: scontrol(1), sinfo(1), sacctmgr(1) of SLURM 22.05.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

SINFO_FORMAT = "%R|%D|%c|%m|%G"
ASSOCIATION_FORMAT = "account,defaultaccount,partition,qos,defaultqos,maxsubmit,maxjobs,grpsubmit,maxwall"
QOS_FORMAT = "name,flags,maxwall,maxsubmitjobsperuser,maxsubmitjobsperaccount,grpsubmit"

GPUS = re.compile(r"(?:^|,)gpu(?::([A-Za-z_][^:,()]*))?:(\d+)")
"""One kind of gpu in a node's generic resources: `gpu:4`, `gpu:a100:4(S:0-1)`."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Nodes that are alike."""

    nodes: int
    cpus: int
    memory_mib: int
    gpus: Mapping[str, int] = field(default_factory=dict)
    """Type -> number; empty type: the site names none."""

    def count(self, kind: str = "") -> int:
        """Gpus of a kind; without one, of all kinds."""
        return self.gpus.get(kind, 0) if kind else sum(self.gpus.values())


@dataclass(frozen=True, kw_only=True)
class Partition:
    """A partition's limits; infinite where there is none."""

    name: str
    is_default: bool
    minutes: float
    nodes: float
    """That one job may have."""
    up: bool
    """It takes jobs and starts them."""
    state: str = "UP"
    """DOWN: takes jobs and starts none; DRAIN, INACTIVE: takes none."""
    default_minutes: float = math.inf
    memory_mib: float = math.inf
    """That one job may have on a node, whatever the node has."""
    cpus: float = math.inf
    """Likewise."""
    accounts: frozenset[str] | None = None
    """That may use it; None: all."""
    denied_accounts: frozenset[str] = frozenset()
    qos: frozenset[str] | None = None
    """That may be used in it; None: all."""
    denied_qos: frozenset[str] = frozenset()
    own_qos: str = ""
    """The QOS whose limits hold for all its jobs."""
    shapes: tuple[Shape, ...] = ()
    """Its nodes; empty where nobody says."""


@dataclass(frozen=True, kw_only=True)
class Association:
    """What the accounting allows a user under one account; infinite where it limits nothing."""

    account: str
    is_default: bool
    partition: str = ""
    """Holds there alone; empty: everywhere."""
    qos: frozenset[str] = frozenset()
    default_qos: str = ""
    submit: float = math.inf
    """Jobs in the queue and running."""
    jobs: float = math.inf
    """Jobs that run at once."""
    minutes: float = math.inf


@dataclass(frozen=True, kw_only=True)
class Qos:
    """A quality of service; infinite where it limits nothing."""

    name: str
    flags: frozenset[str] = frozenset()
    """`PartitionTimeLimit`, `PartitionMaxNodes`: what it lifts of a partition's limits."""
    minutes: float = math.inf
    submit: float = math.inf


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
            state = fields.get("State", "UP")
            found[name] = Partition(
                name=name,
                is_default=fields.get("Default") == "YES",
                minutes=parse_minutes(fields.get("MaxTime", "UNLIMITED")),
                nodes=_limit(fields.get("MaxNodes", "")),
                up=state == "UP",
                state=state,
                default_minutes=parse_minutes(fields.get("DefaultTime", "NONE")),
                memory_mib=_limit(fields.get("MaxMemPerNode", "")),
                cpus=_limit(fields.get("MaxCPUsPerNode", "")),
                accounts=_allowed(fields.get("AllowAccounts", "ALL")),
                denied_accounts=_names(fields.get("DenyAccounts", "")),
                qos=_allowed(fields.get("AllowQos", "ALL")),
                denied_qos=_names(fields.get("DenyQos", "")),
                own_qos=fields.get("QoS", "N/A").removeprefix("N/A"),
            )
    return found


def parse_shapes(text: str) -> dict[str, tuple[Shape, ...]]:
    """`sinfo --noheader --exact --format=SINFO_FORMAT`: partition -> its nodes, those that are alike together."""
    found: dict[str, list[Shape]] = {}
    for line in text.splitlines():
        fields = [one.strip() for one in line.split("|")]
        if len(fields) != 5 or not all(number.rstrip("+").isdigit() for number in fields[1:4]):
            continue
        nodes, cpus, memory = (int(number.rstrip("+")) for number in fields[1:4])
        gpus: dict[str, int] = {}
        for kind, number in GPUS.findall(fields[4]):
            gpus[kind] = gpus.get(kind, 0) + int(number)
        shapes = found.setdefault(fields[0], [])
        new = Shape(nodes=nodes, cpus=cpus, memory_mib=memory, gpus=gpus)
        for index, shape in enumerate(shapes):  # a line for each state its nodes are in
            if replace(shape, nodes=nodes) == new:
                shapes[index] = replace(shape, nodes=shape.nodes + nodes)
                break
        else:
            shapes.append(new)
    return {partition: tuple(shapes) for partition, shapes in found.items()}


def parse_associations(text: str) -> tuple[Association, ...]:
    """`sacctmgr -nP show user NAME withassoc format=ASSOCIATION_FORMAT`."""
    found = []
    for line in text.splitlines():
        fields = line.split("|")
        if len(fields) < 9 or not fields[0]:
            continue
        account, default, partition, qos, default_qos, submit, jobs, group, wall = fields[:9]
        found.append(
            Association(
                account=account,
                is_default=account == default,
                partition=partition,
                qos=_names(qos),
                default_qos=default_qos,
                submit=min(_limit(submit), _limit(group)),
                jobs=_limit(jobs),
                minutes=parse_minutes(wall),
            )
        )
    return tuple(found)


def parse_qos(text: str) -> dict[str, Qos]:
    """`sacctmgr -nP show qos format=QOS_FORMAT`: name -> limits."""
    found = {}
    for line in text.splitlines():
        fields = line.split("|")
        if len(fields) >= 6 and fields[0]:
            name, flags, wall, *submit = fields[:6]
            found[name] = Qos(
                name=name, flags=_names(flags), minutes=parse_minutes(wall), submit=min(_limit(one) for one in submit)
            )
    return found


def parse_minutes(text: str) -> float:
    """SLURM's `[days-]hours:minutes:seconds` in minutes; UNLIMITED, NONE and nothing are infinite."""
    if not text or not text[0].isdigit():
        return math.inf
    days, dash, rest = text.partition("-")
    if not dash:
        days, rest = "0", text
    parts = [int(part) for part in rest.split(":")]
    hours, minutes, seconds = [0, 0, 0, *parts][-3:] if not dash else [*parts, 0, 0][:3]
    return int(days) * 1440 + hours * 60 + minutes + seconds / 60


def _limit(text: str) -> float:
    return float(text) if text.isdigit() else math.inf


def _names(text: str) -> frozenset[str]:
    return frozenset(name for name in text.split(",") if name and name != "(null)")


def _allowed(text: str) -> frozenset[str] | None:
    return None if text in ("ALL", "") else _names(text)
