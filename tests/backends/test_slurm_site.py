"""A site's limits are read from what SLURM 22.05 prints, recorded from one and from the manuals' examples."""

import math

import pytest

from orchestrator.backends.slurm.core.states import JobState
from orchestrator.backends.slurm.preflight.limits import (
    Association,
    Qos,
    Shape,
    parse_associations,
    parse_configuration,
    parse_minutes,
    parse_partitions,
    parse_qos,
    parse_shapes,
)
from orchestrator.backends.slurm.preflight.site import Site, enforced, room
from orchestrator.backends.slurm.settings import SlurmSettings, SlurmStage

CONFIGURATION = """\
Configuration data as of 2026-11-27T03:42:30
AccountingStorageEnforce = associations,limits
AccountingStorageType   = accounting_storage/slurmdbd
MaxArraySize            = 201
MaxJobCount             = 2000
SchedulerParameters     = sched_interval=1,bf_interval=1
SlurmctldParameters     = preempt_send_user_signal
SLURM_VERSION           = 22.05.8

Slurmctld(primary) at vm is UP
"""
PARTITIONS = (
    "PartitionName=long AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL AllocNodes=ALL Default=YES QoS=N/A "
    "DefaultTime=01:00:00 DisableRootJobs=NO ExclusiveUser=NO GraceTime=10 Hidden=NO MaxNodes=UNLIMITED "
    "MaxTime=1-00:00:00 MinNodes=0 LLN=NO MaxCPUsPerNode=UNLIMITED Nodes=n[1-2] PriorityTier=1 RootOnly=NO "
    "OverSubscribe=NO OverTimeLimit=NONE PreemptMode=REQUEUE State=UP TotalCPUs=8 TotalNodes=2 JobDefaults=(null) "
    "DefMemPerNode=UNLIMITED MaxMemPerNode=UNLIMITED TRES=cpu=8,mem=16000M,node=2,billing=8\n"
    "PartitionName=gpu AllowGroups=ALL DenyAccounts=guest,test AllowQos=fast,normal AllocNodes=ALL Default=NO QoS=part "
    "DefaultTime=NONE MaxNodes=4 MaxTime=UNLIMITED MaxCPUsPerNode=32 State=DRAIN MaxMemPerNode=64000\n"
    "PartitionName=own AllowAccounts=study,more AllowQos=ALL Default=NO QoS=N/A MaxTime=00:10:00 State=DOWN\n"
)
SHAPES = """\
long|1|4|8000|(null)
long|3|4|8000|(null)
gpu|2|64|515000+|gpu:a100:4(S:0-1),gpu:a100_1g.5gb:7,nvme:1
gpu|1|32|256000|gpu:v100:2(IDX:0,1)
old|5|16|64000|gpu:2
garbled line
"""


def test_the_configuration_is_keys_and_values() -> None:
    found = parse_configuration(CONFIGURATION)
    assert found["MaxArraySize"] == "201"
    assert found["SchedulerParameters"] == "sched_interval=1,bf_interval=1"


def test_partitions_have_their_limits() -> None:
    long, gpu, own = (found := parse_partitions(PARTITIONS))["long"], found["gpu"], found["own"]
    assert (long.is_default, long.minutes, long.default_minutes, long.nodes, long.up) == (
        True,
        1440,
        60,
        math.inf,
        True,
    )
    assert (long.memory_mib, long.cpus, long.accounts, long.qos, long.own_qos) == (math.inf, math.inf, None, None, "")
    assert (gpu.is_default, gpu.minutes, gpu.default_minutes, gpu.nodes) == (False, math.inf, math.inf, 4)
    assert (gpu.up, gpu.state, gpu.memory_mib, gpu.cpus, gpu.own_qos) == (False, "DRAIN", 64000, 32, "part")
    assert (gpu.accounts, gpu.denied_accounts, gpu.qos) == (None, {"guest", "test"}, {"fast", "normal"})
    assert (own.accounts, own.minutes, own.state) == ({"study", "more"}, 10, "DOWN")


def test_nodes_that_are_alike_are_counted_over_their_states() -> None:
    assert parse_shapes(SHAPES) == {
        "long": (Shape(nodes=4, cpus=4, memory_mib=8000),),
        "gpu": (
            Shape(nodes=2, cpus=64, memory_mib=515000, gpus={"a100": 4, "a100_1g.5gb": 7}),
            Shape(nodes=1, cpus=32, memory_mib=256000, gpus={"v100": 2}),
        ),
        "old": (Shape(nodes=5, cpus=16, memory_mib=64000, gpus={"": 2}),),
    }


def test_the_users_accounts_have_theirs() -> None:
    text = "study|study||normal,fast|fast|500|20|100|1-00:00:00\nroot|study|long|normal|||||\n"
    assert parse_associations(text) == (
        Association(
            account="study",
            is_default=True,
            qos=frozenset({"normal", "fast"}),
            default_qos="fast",
            submit=100,
            jobs=20,
            minutes=1440,
        ),
        Association(account="root", is_default=False, partition="long", qos=frozenset({"normal"})),
    )
    assert parse_associations("") == ()


def test_qualities_of_service_have_theirs() -> None:
    assert parse_qos("normal|||||\nquick|DenyOnLimit,PartitionTimeLimit|00:05:00|7|9|\n") == {
        "normal": Qos(name="normal"),
        "quick": Qos(name="quick", flags=frozenset({"DenyOnLimit", "PartitionTimeLimit"}), minutes=5, submit=7),
    }


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("00:05:00", 5),
        ("01:00:30", 60.5),
        ("30:00", 30),
        ("2-12:00:00", 3600),
        ("1-00", 1440),
        ("UNLIMITED", math.inf),
        ("NONE", math.inf),
        ("", math.inf),
    ],
)
def test_a_time_in_minutes(text: str, minutes: float) -> None:
    assert parse_minutes(text) == minutes


def test_what_is_enforced_implies_more() -> None:
    assert enforced("none") == enforced("") == enforced("(null)") == frozenset()
    assert enforced("limits") == {"limits", "associations"}
    assert enforced("safe") == {"safe", "limits", "associations"}
    assert {"limits", "qos", "associations"} <= enforced("all")


def made_site(**changes: object) -> Site:
    given: dict[str, object] = {
        "array_size": 200,
        "submit": math.inf,
        "partitions": parse_partitions(PARTITIONS),
        "user": "me",
        "associations": parse_associations("study|study||normal||500||40|\nmore|study||normal||3|||\n"),
        "qos": parse_qos("normal||||30|\nquick|||7||\npart|||5||\n"),
        "enforced": enforced("limits"),
        "job_count": 2000.0,
        **changes,
    }
    return Site(**given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("stage", "jobs"),
    [
        (SlurmStage(), 30),
        (SlurmStage(account="more"), 3),
        (SlurmStage(qos="quick"), 7),
        (SlurmStage(partition="gpu"), 5),
        (SlurmStage(account="unheard of"), 30),
    ],
)
def test_the_lowest_of_all_limits_of_a_stages_jobs_holds(stage: SlurmStage, jobs: float) -> None:
    assert made_site().submit_as(stage) == jobs


def test_what_is_not_enforced_limits_nothing() -> None:
    assert made_site(enforced=frozenset()).submit_as(SlurmStage(account="more")) == 2000
    assert made_site(associations=(), qos={}).submit_as(SlurmStage()) == 2000


STAGES = ("data", "train")


def test_room_is_what_others_of_the_user_leave() -> None:
    states = {
        ticket: JobState(job=ticket, state=state)
        for ticket, state in (("1", "PENDING"), ("2_0", "RUNNING"), ("2_1", "RUNNING"), ("3", "COMPLETED"))
    }
    assert room(made_site(), SlurmSettings(), STAGES, states, ours=()) == 27
    assert room(made_site(), SlurmSettings(), STAGES, states, ours={"2_0", "2_1"}) == 29
    assert room(made_site(), SlurmSettings(stages={"train": SlurmStage(qos="quick")}), STAGES, states, ours={"1"}) == 5
    assert room(made_site(), SlurmSettings(every=SlurmStage(account="more")), STAGES, states, ours=()) == 0
