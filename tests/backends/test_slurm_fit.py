"""Each misfit between a plan and a site, in the words that the user reads; and that what fits is let through."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest

from orchestrator.backends.protocol import Placement, Submission
from orchestrator.backends.slurm.core.job_request import parse_gpus, request_of, request_of_pilot
from orchestrator.backends.slurm.core.submit import sbatch_job
from orchestrator.backends.slurm.pilot.pool import sbatch_pilot
from orchestrator.backends.slurm.preflight.check import misfits
from orchestrator.backends.slurm.preflight.limits import (
    Partition,
    Shape,
    parse_associations,
    parse_qos,
)
from orchestrator.backends.slurm.preflight.requirements import Files
from orchestrator.backends.slurm.preflight.site import Site, enforced
from orchestrator.backends.slurm.settings import PilotSettings, SlurmSettings, SlurmStage
from orchestrator.spec.cell import Resources


def partition(name: str, **changes: object) -> Partition:
    given: dict[str, object] = {
        "name": name,
        "is_default": name == "long",
        "minutes": 1440.0,
        "nodes": math.inf,
        "up": changes.get("state", "UP") == "UP",
        "shapes": (Shape(nodes=2, cpus=4, memory_mib=8000),),
        **changes,
    }
    return Partition(**given)  # type: ignore[arg-type]


PARTITIONS = (
    partition("long"),
    partition("short", minutes=10.0),
    partition(
        "gpu",
        nodes=2.0,
        shapes=(
            Shape(nodes=4, cpus=64, memory_mib=512000, gpus={"a100": 4}),
            Shape(nodes=8, cpus=16, memory_mib=900000, gpus={"v100": 8}),
        ),
    ),
    partition("closed", state="INACTIVE"),
    partition("resting", state="DOWN"),
    partition("theirs", accounts=frozenset({"others"})),
    partition("fine", denied_qos=frozenset({"normal"})),
)
SITE = Site(
    array_size=200,
    submit=500,
    partitions={one.name: one for one in PARTITIONS},
    user="me",
    associations=parse_associations(
        "study|study||normal,quick||500|||\nempty|study||normal||0|||\nstopped|study||normal|||0||\n"
    ),
    qos=parse_qos("normal|||||\nquick||00:05:00|||\ntheirs|||||\nover|PartitionTimeLimit||||\n"),
    enforced=enforced("limits,qos"),
)
FILES = Files(cluster="cluster/slurm.yaml", matrix="matrix.yaml")
SMALL = Resources(cpus=1, devices=0, memory_gib=2.0, minutes=30)
FOUR = Resources(cpus=8, devices=4, memory_gib=64.0, minutes=30)


def said(
    stage: SlurmStage,
    needs: Resources = SMALL,
    site: Site = SITE,
    *,
    every: SlurmStage | None = None,
    grace_s: float = 60,
) -> list[str]:
    slurm = SlurmSettings(every=every or SlurmStage(), stages={"train": stage})
    found = misfits(site, slurm, {"train": (needs,)}, files=FILES, grace_s=grace_s)
    assert all(one.says and one.remedy for one in found)
    return [str(one) for one in found]


THERE = "there are 'long' (default), 'closed', 'fine', 'gpu', 'resting', 'short', 'theirs'"

MISFITS = {
    "an unknown partition": (
        SlurmStage(partition="gpuu"),
        SMALL,
        "cluster/slurm.yaml: slurm.stages.train.partition is 'gpuu', which SLURM does not have; did you mean "
        f"'gpu'?; {THERE}; set it to one of them",
    ),
    "a partition that takes no jobs": (
        SlurmStage(partition="closed"),
        SMALL,
        "cluster/slurm.yaml: slurm.stages.train.partition: partition 'closed' is INACTIVE: it takes no jobs; choose "
        f"another, or wait until the site has it back; {THERE}",
    ),
    "a partition for others": (
        SlurmStage(partition="theirs"),
        SMALL,
        "cluster/slurm.yaml: partition 'theirs' does not take jobs of account 'study': it is for 'others'; set "
        "another slurm.every.account or slurm.stages.train.partition",
    ),
    "a partition without this QOS": (
        SlurmStage(partition="fine"),
        SMALL,
        "cluster/slurm.yaml: partition 'fine' does not take jobs of QOS 'normal'; set another slurm.every.qos or "
        "slurm.stages.train.partition",
    ),
    "more minutes than the partition allows": (
        SlurmStage(partition="short"),
        SMALL,
        "matrix.yaml: resources.train.minutes is 30, and a job gets 2 more to record its end: 32, but partition "
        "'short' allows 10 minutes; set slurm.stages.train.minutes in cluster/slurm.yaml to at most 8 (a job whose "
        "time is over goes on from its checkpoint in another), or choose another slurm.stages.train.partition: "
        "'long', 'gpu' would do",
    ),
    "more minutes than the QOS allows": (
        SlurmStage(qos="quick", minutes=4),
        SMALL,
        "cluster/slurm.yaml: slurm.stages.train.minutes is 4, and a job gets 2 more to record its end: 6, but QOS "
        "'quick' allows 5 minutes; set slurm.stages.train.minutes in cluster/slurm.yaml to at most 3 (a job whose "
        "time is over goes on from its checkpoint in another); no other partition would do",
    ),
    "more nodes than a job may have": (
        SlurmStage(partition="gpu", nodes=4),
        FOUR,
        "cluster/slurm.yaml: slurm.stages.train.nodes is 4, but partition 'gpu' allows 2 a job; set it to at most "
        "2; no other partition would do",
    ),
    "more nodes than there are": (
        SlurmStage(nodes=4),
        dataclasses.replace(FOUR, devices=0, ranks=4),
        "cluster/slurm.yaml: slurm.stages.train.nodes is 4, but partition 'long' has 2; set it to at most 2; no "
        "other partition would do",
    ),
    "more cpus than a node has": (
        SlurmStage(),
        dataclasses.replace(SMALL, cpus=6),
        "matrix.yaml: resources.train.cpus is 6, but the largest node of partition 'long' has 4; lower it, or "
        "choose another slurm.every.partition: 'gpu' would do",
    ),
    "more memory than a node has": (
        SlurmStage(nodes=2),
        Resources(cpus=4, devices=0, memory_gib=20.0, minutes=30, ranks=4),
        "matrix.yaml: resources.train.memory_gib is 20 (10240 MiB on each of 2 nodes), but the largest node of "
        "partition 'long' has 8000; lower it, or set slurm.stages.train.nodes to more, or choose another "
        "slurm.every.partition: 'gpu' would do",
    ),
    "gpus where there are none": (
        SlurmStage(),
        Resources(cpus=1, devices=1, memory_gib=2.0, minutes=30),
        "matrix.yaml: resources.train.devices is 1, but the largest node of partition 'long' has 0; lower it, or "
        "choose another slurm.every.partition: 'gpu' would do",
    ),
    "more gpus of a type than a node has": (
        SlurmStage(partition="gpu", gpus="a100:8"),
        dataclasses.replace(FOUR, devices=8),
        "cluster/slurm.yaml: slurm.stages.train.gpus is 'a100:8', but the largest node of partition 'gpu' has 4 of "
        "type 'a100'; there are 'a100', 'v100'; lower it, or set slurm.every.nodes to more; no other partition "
        "would do",
    ),
    "no node that has all at once": (
        SlurmStage(partition="gpu"),
        Resources(cpus=32, devices=8, memory_gib=64.0, minutes=30),
        "matrix.yaml: resources.train asks for 32 cpus, 65536 MiB and 8 gpus together on 1 node; partition 'gpu' "
        "has 0 such; lower one of them, or set slurm.every.nodes to more; no other partition would do",
    ),
    "fewer gpus than ranks": (
        SlurmStage(partition="gpu", gpus="a100:2"),
        FOUR,
        "cluster/slurm.yaml: slurm.stages.train.gpus is 'a100:2', on 1 node 2, and a job has 4 ranks with one each; "
        "ask for 4 a node, or lower resources.train.devices",
    ),
    "ranks that cannot be spread": (
        SlurmStage(partition="gpu", nodes=3),
        FOUR,
        "cluster/slurm.yaml: slurm.stages.train.nodes is 3, over which the 4 ranks of a job cannot be spread "
        "evenly; set it to one of 1, 2, 4, or change resources.train.devices",
    ),
    "an unknown account": (
        SlurmStage(account="studdy"),
        SMALL,
        "cluster/slurm.yaml: slurm.stages.train.account is 'studdy', which user 'me' does not have; did you mean "
        "'study'?; there are 'empty', 'stopped', 'study'; set it to one of them, or to null for 'study'",
    ),
    "a QOS that the user does not have": (
        SlurmStage(qos="theirs"),
        SMALL,
        "cluster/slurm.yaml: slurm.stages.train.qos is 'theirs', which SLURM does not have for this user; there are "
        "'normal', 'quick'; set it to one of them, or to null",
    ),
    "an account that may submit nothing": (
        SlurmStage(account="empty"),
        SMALL,
        "SLURM's accounting lets user 'me' have no job as account 'empty': MaxSubmitJobs is 0; set another "
        "slurm.stages.train.account, or ask the site",
    ),
    "an account that may run nothing": (
        SlurmStage(account="stopped"),
        SMALL,
        "SLURM's accounting lets user 'me' have no job as account 'stopped': MaxJobs is 0; set another "
        "slurm.stages.train.account, or ask the site",
    ),
}


@pytest.mark.parametrize("name", MISFITS)
def test_a_misfit_says_where_what_is_allowed_and_what_to_do(name: str) -> None:
    stage, needs, words = MISFITS[name]
    assert words in said(stage, needs)


def test_a_plan_that_fits_is_let_through() -> None:
    assert said(SlurmStage()) == []
    assert said(SlurmStage(partition="gpu", gpus="a100:4"), FOUR) == []
    assert said(SlurmStage(partition="gpu", nodes=2, gpus="v100:2"), FOUR) == []
    assert said(SlurmStage(partition="short", minutes=8)) == []
    assert said(SlurmStage(), site=dataclasses.replace(SITE, associations=(), enforced=frozenset(), qos={})) == []


def test_where_a_key_is_written_for_all_stages_it_is_named_there() -> None:
    (words,) = said(SlurmStage(), every=SlurmStage(partition="lnog"))
    assert words.startswith("cluster/slurm.yaml: slurm.every.partition is 'lnog'")


def test_one_mistake_for_all_stages_is_told_once() -> None:
    needs = {"train": (SMALL,), "evaluate": (SMALL,)}
    slurm = SlurmSettings(every=SlurmStage(partition="lnog"))
    assert len(misfits(SITE, slurm, needs, files=FILES, grace_s=60)) == 1


def test_without_a_default_partition_one_must_be_named() -> None:
    site = dataclasses.replace(SITE, partitions={"gpu": PARTITIONS[2], "short": PARTITIONS[1]})
    assert said(SlurmStage(), site=site) == [
        "cluster/slurm.yaml: slurm.every.partition is null, and SLURM has no default partition; there are 'gpu', "
        "'short'; set slurm.every.partition to one of them"
    ]


def test_a_partition_that_rests_refuses_nothing() -> None:
    slurm = SlurmSettings(every=SlurmStage(partition="resting"))
    (found,) = misfits(SITE, slurm, {"train": (SMALL,)}, files=FILES, grace_s=60)
    assert not found.refuses
    assert "is DOWN: it takes jobs and starts none" in found.says


def test_of_several_partitions_one_that_can_is_enough() -> None:
    assert said(SlurmStage(partition="short,long")) == []
    assert len(said(SlurmStage(partition="short,closed"))) == 1
    assert "'nosuch'" in said(SlurmStage(partition="long,nosuch"))[0]


def test_a_user_without_an_account_is_told() -> None:
    (words,) = said(SlurmStage(), site=dataclasses.replace(SITE, associations=()))
    assert words.startswith("SLURM's accounting knows no account of user 'me', and takes no job without one; ask the")


@pytest.mark.parametrize("changes", [{"enforced": frozenset()}, {"silent": "sacctmgr failed", "associations": ()}])
def test_where_the_accounting_is_silent_or_enforces_nothing_no_account_is_refused(changes: dict[str, object]) -> None:
    site = dataclasses.replace(SITE, qos={}, **changes)  # type: ignore[arg-type]
    assert said(SlurmStage(account="unheard-of"), site=site) == []


def test_a_qos_may_lift_the_partitions_limit() -> None:
    site = dataclasses.replace(SITE, enforced=enforced("limits"))
    assert said(SlurmStage(partition="short", qos="over"), site=site) == []


def test_a_grace_period_that_fills_the_whole_time_is_a_misfit() -> None:
    assert said(SlurmStage(minutes=5), grace_s=300) == []
    assert said(SlurmStage(minutes=5), grace_s=400) == [
        "cluster/slurm.yaml: grace_s is 400, so a job is asked to stop 430 s before its limit, but stage "
        "train has 420 s: it would be asked at once; set grace_s to at most 330, or give it more "
        "slurm.stages.train.minutes"
    ]


def test_options_of_sbatch_hold() -> None:
    assert said(SlurmStage(partition="nosuch", sbatch=("--clusters=other",))) == []
    assert said(SlurmStage(partition="short", sbatch=("--partition=long",))) == []
    assert said(SlurmStage(partition="short", sbatch=("--time=5",))) == []
    (words,) = said(SlurmStage(sbatch=("--partition=nosuch",)))
    assert words.startswith("cluster/slurm.yaml: slurm.stages.train.sbatch is 'nosuch'")


@pytest.mark.parametrize(
    ("text", "gpus"), [("a100:4", {"a100": 4}), ("4", {"": 4}), ("a100", {"a100": 1}), ("a:1,b:2", {"a": 1, "b": 2})]
)
def test_gpus_of_a_node(text: str, gpus: dict[str, int]) -> None:
    assert parse_gpus(text) == gpus


@pytest.mark.parametrize(
    ("stage", "resources"),
    [
        (SlurmStage(), SMALL),
        (SlurmStage(nodes=2, minutes=7.5), Resources(cpus=7, devices=6, memory_gib=3.3, minutes=30)),
        (SlurmStage(gpus="4"), FOUR),
    ],
)
def test_what_is_checked_is_what_is_submitted(stage: SlurmStage, resources: Resources) -> None:
    submission = Submission(
        attempt="a1",
        job="train/0",
        label="train/x/s0",
        request={"stage": "train", "work": "/work"},
        inputs={},
        resources=resources,
        placement=Placement(host="slurm", cpus=1, devices=()),
    )
    slurm = SlurmSettings(stages={"train": stage})
    batch = sbatch_job([submission], home=Path("/home"), slurm=slurm, code=Path("/code"), grace_s=60)
    given, ask = batch.parameters, request_of(resources, stage)
    assert (ask.nodes, ask.cpus, f"{ask.memory_mib}MB") == (given["nodes"], given["cpus_per_task"], given["mem"])
    assert ask.minutes == given["time"]
    gpus = given["gpus_per_node"]
    assert ask.gpus == ({} if gpus is None else parse_gpus(str(gpus)))


PILOT = PilotSettings(cpus=16, memory_gib=64.0, minutes=240, devices=4, partition="gpu", stages=("train",))


def kind_of_pilot(needs: Resources = SMALL, grace_s: float = 60, **changes: Any) -> list[str]:
    pilot = dataclasses.replace(PILOT, **changes)
    found = misfits(SITE, SlurmSettings(pilot=pilot), {"train": (needs,)}, files=FILES, grace_s=grace_s)
    return [str(one) for one in found]


def test_a_pilot_job_that_fits_with_its_jobs_is_let_through() -> None:
    assert kind_of_pilot() == []
    assert kind_of_pilot(dataclasses.replace(FOUR, memory_gib=62.0)) == []
    assert kind_of_pilot(dataclasses.replace(FOUR, memory_gib=62.0), stages=None, nodes=2, gpus="a100:4") == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"partition": "gpuu"}, "cluster/slurm.yaml: slurm.pilot.partition is 'gpuu', which SLURM does not have"),
        (
            {"partition": "short", "cpus": 4, "memory_gib": 7.0, "devices": 0},
            "cluster/slurm.yaml: slurm.pilot.minutes is 240, but partition 'short' allows 10 minutes; set "
            "slurm.pilot.minutes in cluster/slurm.yaml to at most 10, or choose another slurm.pilot.partition: "
            "'long', 'gpu' would do",
        ),
        (
            {"cpus": 128},
            "cluster/slurm.yaml: slurm.pilot.cpus is 128, but the largest node of partition 'gpu' has 64; lower it; "
            "no other partition would do",
        ),
        ({"nodes": 3}, "cluster/slurm.yaml: slurm.pilot.nodes is 3, but partition 'gpu' allows 2 a job; set it to at"),
        (
            {"minutes": 1},
            "cluster/slurm.yaml: grace_s is 60, so a job is asked to stop 90 s before its limit, but a pilot job has "
            "60 s: it would be asked at once; set grace_s to less, and give it more slurm.pilot.minutes",
        ),
    ],
)
def test_a_pilot_job_that_does_not_fit_is_told_by_its_own_keys(changes: dict[str, Any], words: str) -> None:
    assert kind_of_pilot(**changes)[0].startswith(words)


def test_a_job_that_no_node_of_a_pilot_job_can_take_is_told() -> None:
    assert kind_of_pilot(Resources(cpus=17, devices=5, memory_gib=63.0, minutes=30)) == [
        "matrix.yaml: resources.train.cpus is 17, but a node of a pilot job has 16 for jobs (cluster/slurm.yaml: "
        "slurm.pilot.cpus); raise slurm.pilot.cpus, or leave 'train' out of slurm.pilot.stages",
        "matrix.yaml: resources.train.memory_gib is 63, but a node of a pilot job has 62 (64 less 2 for Ray) for "
        "jobs (cluster/slurm.yaml: slurm.pilot.memory_gib); raise slurm.pilot.memory_gib, or leave 'train' out of "
        "slurm.pilot.stages",
        "matrix.yaml: resources.train.devices is 5, but a node of a pilot job has 4 for jobs (cluster/slurm.yaml: "
        "slurm.pilot.devices); raise slurm.pilot.devices, or leave 'train' out of slurm.pilot.stages",
    ]


def test_stages_without_pilot_jobs_are_jobs_of_slurm() -> None:
    slurm = SlurmSettings(pilot=PILOT, every=SlurmStage(partition="lnog"))
    (found,) = misfits(SITE, slurm, {"train": (SMALL,), "judge": (SMALL,)}, files=FILES, grace_s=60)
    assert "slurm.every.partition is 'lnog'" in found.says
    assert misfits(SITE, slurm, {"train": (SMALL,)}, files=FILES, grace_s=60) == ()


@pytest.mark.parametrize(
    ("slurm", "needs", "place"),
    [
        (SlurmSettings(), dataclasses.replace(SMALL, ranks=2, nodes=2), "matrix.yaml: resources.train.nodes"),
        (
            SlurmSettings(stages={"train": SlurmStage(nodes=2)}),
            dataclasses.replace(SMALL, ranks=2),
            "cluster/slurm.yaml: slurm.stages.train.nodes",
        ),
    ],
)
def test_jobs_over_several_nodes_are_slurm_jobs_beside_the_pilot_jobs(
    slurm: SlurmSettings, needs: Resources, place: str
) -> None:
    beside = dataclasses.replace(slurm, pilot=dataclasses.replace(PILOT, stages=None, partition="gone"))
    needed = {"train": (needs,)}
    (note,) = misfits(SITE, beside, needed, files=FILES, grace_s=60)
    assert not note.refuses
    assert str(note) == (
        f"{place} is 2, but in a pilot job a job is on one node: those of stage 'train' are SLURM jobs of their own, "
        "beside the pilot jobs; where slurm.pilot.stages names the other stages only, this is not said"
    )
    three = dataclasses.replace(needs, nodes=needs.nodes and 3, ranks=3)
    stages = {stage: dataclasses.replace(one, nodes=3) for stage, one in beside.stages.items()}
    (_, refused) = misfits(
        SITE, dataclasses.replace(beside, stages=stages), {"train": (three,)}, files=FILES, grace_s=60
    )
    assert refused.refuses and f"{place} is 3, but partition 'long' has 2" in refused.says


def test_nodes_for_every_stage_are_none_of_a_stage_with_one_rank() -> None:
    slurm = SlurmSettings(every=SlurmStage(nodes=2), pilot=PILOT)
    assert misfits(SITE, slurm, {"train": (SMALL,)}, files=FILES, grace_s=60) == ()


@pytest.mark.parametrize("changes", [{}, {"nodes": 2, "gpus": "a100:2", "minutes": 7.5, "memory_gib": 3.3}])
def test_what_is_checked_of_a_pilot_job_is_what_is_asked_for(tmp_path: Path, changes: dict[str, Any]) -> None:
    pilot = dataclasses.replace(PILOT, **changes)
    batch = sbatch_pilot(tmp_path, pilot, setup=(), description={"code": "/code"}, grace_s=60, idle_s=60, orphan_s=60)
    given, ask = batch.parameters, request_of_pilot(pilot)
    assert (ask.nodes, ask.cpus, f"{ask.memory_mib}MB") == (given["nodes"], given["cpus_per_task"], given["mem"])
    assert (ask.minutes, ask.gpus) == (given["time"], parse_gpus(str(given["gpus_per_node"])))
