"""What `doctor` says of a node of a Ray cluster, from what was found there."""

import copy
from pathlib import Path
from typing import Any

import pytest

from orchestrator.backends.ray.node_checks import node_result
from orchestrator.backends.ray.node_look import is_same_folder, stamp

HERE = {"python": "3.11.7", "ray": "2.60.0", "torch": "2.13.0"}
NODE: dict[str, Any] = {
    "name": "gpu-1a2b3c",
    "head": False,
    "cpus": 16,
    "counted_devices": 8,
    "host": "",
    "clock_s": 0.004,
    "facts": {
        "versions": HERE,
        "devices": 8,
        "names": ["NVIDIA H100 80GB HBM3"],
        "folder": "/shared/outputs",
        "free_bytes": 100 << 30,
        "writable": True,
        "shared": True,
        "bucket": True,
        "store": "",
        "tracker": "",
        "memory_monitor_ms": "0",
        "niceness": 0,
    },
    "all_reduce": {"gib_per_s": 2.5, "nodes": 2, "backend": "nccl"},
}
WELL = "16 cpus, 8 devices (NVIDIA H100 80GB HBM3); 100.0 GiB free"
END = "store answers; all-reduce over 2 nodes (nccl) 2.50 GiB/s"


def test_a_node_that_is_well_is_one_line_and_its_facts_are_there_for_programs() -> None:
    found = node_result(NODE, HERE)
    assert (found.level, found.remedy, found.facts) == ("ok", "", NODE)
    assert found.says == (
        f"gpu-1a2b3c: python 3.11.7, ray 2.60.0, torch 2.13.0 as here; {WELL}; clock +0.00 s; sees outputs/; {END}"
    )


@pytest.mark.parametrize(
    ("facts", "level", "says", "remedy"),
    [
        (
            {"versions": {**HERE, "torch": "2.12.0"}},
            "bad",
            "takes no jobs: torch 2.12.0, here 2.13.0",
            "pip install torch==2.13.0 there",
        ),
        ({"devices": 7}, "bad", "Ray counts 8 devices, 7 can be used there", "start Ray there with --num-gpus of what"),
        (
            {"shared": False, "bucket": False},
            "bad",
            "takes no jobs: does not see the controller's outputs/",
            "put ECHO_MATRIX_HOME on a file system that all nodes share, at the same path, or the results on S3",
        ),
        ({"writable": False}, "bad", "may not write to /shared/outputs", "run Ray there as the user of the controller"),
        ({"free_bytes": 1 << 30}, "bad", "1.0 GiB free in /shared/outputs", "free some space there"),
        (
            {"store": "boto3 is not installed"},
            "bad",
            "the store is not reached: boto3 is not in",
            "see store in the cl",
        ),
        (
            {"tracker": "timed out"},
            "warning",
            "MLflow is not reached: timed out",
            "only a controller on that node woul",
        ),
        (
            {"niceness": 15},
            "warning",
            "jobs run at niceness 15, with almost no",
            "start Ray there with RAY_worker_nice",
        ),
        (
            {"memory_monitor_ms": "250"},
            "warning",
            "Ray's memory monitor kills a host, th",
            "start Ray there with RAY_m",
        ),
    ],
)
def test_each_thing_that_is_wrong_on_a_node_is_said_first_with_what_to_do(
    facts: dict[str, Any], level: str, says: str, remedy: str
) -> None:
    found = node_result({**NODE, "facts": {**NODE["facts"], **facts}}, HERE)
    assert found.level == level
    assert found.says.startswith(f"gpu-1a2b3c: {says}")
    assert found.remedy.startswith(remedy)


def test_clock_network_and_hosts_of_other_code_are_told() -> None:
    node = copy.deepcopy(NODE)
    node["clock_s"] = -3.25
    node["host"] = "aaaaaaaaaaaaaaaa"
    node["all_reduce"] = {"problem": "no end within 45 s", "nodes": 2, "backend": "gloo"}
    found = node_result(node, HERE, "bbbbbbbbbbbbbbbb")
    assert found.level == "bad"
    assert found.says.startswith(
        "gpu-1a2b3c: its clock is 3.2 s behind; all-reduce over 2 nodes (gloo) fails: no end within 45 s; python"
    )
    assert "has a host of other code (aaaaaaaaaaaa), which makes room" in found.says
    assert found.remedy == (
        "let chrony or ntpd set it; let nodes reach one another on all ports, by the network that their host names "
        "lead to"
    )
    assert "has a host of this code" in node_result(node, HERE, "aaaaaaaaaaaaaaaa").says


def test_a_node_of_a_study_in_a_bucket_need_not_see_the_folder() -> None:
    found = node_result({**NODE, "facts": {**NODE["facts"], "shared": False, "folder": "/scratch"}}, HERE)
    assert found.level == "ok"
    assert "; does not see outputs/: attempts run in /scratch; store answers; " in found.says


def test_a_node_without_an_answer_has_a_line_of_its_own() -> None:
    found = node_result({"name": "gpu-1a2b3c", "head": True, "problem": "does not answer within 20 s"}, HERE)
    assert (found.level, found.says) == ("bad", "gpu-1a2b3c (head): does not answer within 20 s")
    assert found.remedy.startswith("see `ray status` and the raylet's log on that node")


def test_devices_that_ray_was_not_told_of_matter_where_jobs_ask_for_one() -> None:
    node = {**NODE, "counted_devices": 0}
    assert node_result(node, HERE).level == "ok"
    found = node_result(node, HERE, devices=True)
    assert (found.level, found.remedy) == ("warning", "start Ray there with --num-gpus=8")
    assert found.says.startswith("gpu-1a2b3c: Ray counts no device, 8 are there; ")


def test_a_folder_is_told_from_one_of_its_name_on_another_machine(tmp_path: Path) -> None:
    mine = stamp(tmp_path)
    assert is_same_folder(tmp_path, mine)
    (tmp_path / "new").touch()
    assert is_same_folder(tmp_path, mine), "a run may change it meanwhile"
    assert not is_same_folder(tmp_path, {**mine, "device": mine["device"] + 1}), "another disk of this machine"
    assert not is_same_folder(tmp_path, {**mine, "boot": "another"}), "a copy elsewhere was made at another time"
    assert is_same_folder(tmp_path, {**stamp(tmp_path), "boot": "another"})
    assert not is_same_folder(tmp_path / "none", mine)
