"""What of a machine a process may use: devices, processors, temporary folders."""

import os
import re
from pathlib import Path

import pytest

from orchestrator.backends.plugin import LocalShare, excess_devices
from orchestrator.backends.ray.socket_folder import SOCKET_BYTES, socket_parent, socket_parents
from orchestrator.errors import BackendError
from orchestrator.host.machine import _listed_devices, machine_cpus, machine_devices, machine_gib, visible_devices

MIG = "MIG-GPU-5f3c/1/0"
UUID = "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("0,1", ("0", "1")),
        (" 3 , 1 ", ("3", "1")),
        ("", ()),
        ("-1", ()),
        ("NoDevFiles", ()),
        ("0,-1,1", ("0",)),
        ("1,1", ("1",)),
        (f"{UUID},{MIG}", (UUID, MIG)),
    ],
)
def test_visible_devices_are_read_as_cuda_reads_them(text: str, names: tuple[str, ...]) -> None:
    assert visible_devices(text) == names


@pytest.mark.parametrize(
    ("text", "number"), [(None, 8), ("0,1", 2), ("6,7,8,1", 2), (UUID, 1), ("", 0), ("NoDevFiles", 0), ("9", 0)]
)
def test_of_eight_devices_those_count_that_are_visible(tmp_path: Path, text: str | None, number: int) -> None:
    for name in (*(f"nvidia{index}" for index in range(8)), "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    assert machine_devices({} if text is None else {"CUDA_VISIBLE_DEVICES": text}, tmp_path) == number


def test_where_devices_have_no_files_the_driver_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'GPU 0: NVIDIA (UUID: GPU-1)'\necho 'GPU 1: NVIDIA (UUID: GPU-2)'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert machine_devices({}, tmp_path) == 0, "only WSL is asked"
    (tmp_path / "dxg").touch()
    _listed_devices.cache_clear()
    assert machine_devices({}, tmp_path) == 2
    assert machine_devices({"CUDA_VISIBLE_DEVICES": "1,2"}, tmp_path) == 1
    _listed_devices.cache_clear()


def test_more_devices_than_can_be_used_are_told_with_both_numbers() -> None:
    share = LocalShare(section="ray", devices=2)
    assert excess_devices(share, {"CUDA_VISIBLE_DEVICES": UUID}) == (
        f"ray.devices is 2, but 1 can be used here, as CUDA_VISIBLE_DEVICES is {UUID!r}",
        "set ray.devices to null or to 1",
    )
    assert excess_devices(share, {"CUDA_VISIBLE_DEVICES": f"{UUID},{MIG}"}) is None
    assert excess_devices(LocalShare(section="ray"), {"CUDA_VISIBLE_DEVICES": ""}) is None


@pytest.fixture
def cgroups(tmp_path: Path) -> tuple[Path, Path]:
    """`/proc` and `/sys/fs/cgroup` of a process in a step of a job, in both versions."""
    proc, groups = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "self" / "cgroup").write_text("4:cpu,cpuacct:/job/step\n0::/job/step\n", encoding="utf-8")
    (proc / "meminfo").write_text("MemTotal: 8388608 kB\n", encoding="ascii")
    (groups / "job" / "step").mkdir(parents=True)
    (groups / "cpu" / "job" / "step").mkdir(parents=True)
    return proc, groups


def here() -> int:
    return len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("file", "text", "cpus"),
    [
        ("job/step/cpu.max", "max 100000", None),
        ("job/step/cpu.max", "150000 100000", 1),
        ("job/cpu.max", "50000 100000", 1),
        ("cpu.max", "99900000 100000", None),
        ("cpu/job/step/cpu.cfs_quota_us", "-1", None),
        ("cpu/job/cpu.cfs_quota_us", "100000", 1),
    ],
)
def test_a_quota_of_the_cgroup_counts(cgroups: tuple[Path, Path], file: str, text: str, cpus: int | None) -> None:
    proc, groups = cgroups
    (groups / file).write_text(f"{text}\n", encoding="ascii")
    if file.endswith("cfs_quota_us"):
        (groups / file).with_name("cpu.cfs_period_us").write_text("100000\n", encoding="ascii")
    assert machine_cpus(proc, groups) == (here() if cpus is None else cpus)


def test_a_limit_on_the_job_holds_in_its_steps(cgroups: tuple[Path, Path]) -> None:
    proc, groups = cgroups
    (groups / "job" / "step" / "memory.max").write_text("max\n", encoding="ascii")
    assert machine_gib(proc, groups) == 8.0
    (groups / "job" / "memory.max").write_text(f"{1 << 30}\n", encoding="ascii")
    assert machine_gib(proc, groups) == 1.0


def test_rays_sockets_lie_in_the_users_temporary_folder_where_that_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = tmp_path / "taken"
    taken.touch()
    with monkeypatch.context() as patch:  # pytest's folders are longer than a socket's may be
        patch.setattr("orchestrator.backends.ray.socket_folder.SOCKET_BYTES", 10 * SOCKET_BYTES)
        assert socket_parent({"TMPDIR": str(tmp_path)}) == tmp_path
        assert socket_parent({"TMPDIR": str(taken)}) == Path("/tmp"), "no folder"
    long = tmp_path / ("x" * SOCKET_BYTES)
    long.mkdir()
    assert long in socket_parents({"TMPDIR": str(long)}) and socket_parent({"TMPDIR": str(long)}) == Path("/tmp")


def test_where_nothing_can_be_used_each_folder_is_named_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.backends.ray.socket_folder.ROOM_MIB", 1 << 40)
    with pytest.raises(BackendError) as caught:
        socket_parent({"TMPDIR": "/not/there"})
    said = str(caught.value)
    assert said.startswith("Ray finds no folder for its sockets: ") and "set TMPDIR to a folder of at most" in said
    assert "/not/there cannot be used (No such file or directory)" in said
    assert re.search(r"; /tmp has \d+ MiB left; ", said)
