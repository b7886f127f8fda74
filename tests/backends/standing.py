"""A standing Ray cluster on this machine for tests: `ray start` in a folder and under a mark of its own.

`ray stop` ends every Ray of the user, so it is never used: what carries the mark is killed.
"""

import functools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from leftovers import Marked, expect_nothing, marked

from orchestrator.backends.ray.environment import HOST_LABEL

RAY = Path(sys.executable).with_name("ray")
SETTINGS = {
    "RAY_worker_niceness": "0",
    "RAY_memory_monitor_refresh_ms": "0",
    "RAY_AUTH_MODE": "disabled",
    "OMP_NUM_THREADS": "1",
}
START_S = 180.0
HEAD = "ray.head.default"
HEAD_ID = "f" * 51 + "00000"
"""As Ray's fake provider names them; it counts on from the id."""
NOTHING = (
    *(f"{part}_commands" for part in ("setup", "head_setup", "worker_setup", "initialization")),
    *("head_start_ray_commands", "worker_start_ray_commands", "cluster_synced_files", "rsync_exclude", "rsync_filter"),
)
"""Lists that Ray's autoscaler wants to see in its file."""
FAKE_NODES = {
    "RAY_FAKE_CLUSTER": "1",
    "RAY_enable_autoscaler_v2": "1",
    "RAY_CLOUD_INSTANCE_ID": HEAD_ID,
    "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD_ID,
    "AUTOSCALER_UPDATE_INTERVAL_S": "1",
}
"""Of the head of a cluster whose autoscaler starts raylets on this machine, with the autoscaler that `ray up` uses."""


class Standing:
    """One cluster: a head, and nodes that come and go."""

    def __init__(
        self,
        cpus: int,
        node_types: Mapping[str, Any] | None = None,
        command: Sequence[str] = (str(RAY),),
        variables: Mapping[str, str] = {},
        *,
        inside: Sequence[str] = (),
        ip: str = "127.0.0.1",
        labels: str = "",
    ) -> None:
        """Start the head; some 5 to 20 s.

        Args:
            cpus: of the head.
            node_types: what an autoscaler can add, as `available_node_types`; it starts more raylets on this machine.
            command: in the place of `ray`.
            variables: beside `SETTINGS`, for all of its nodes.
            inside, ip: as of `add_node`.
            labels: of the head.
        """
        self._command, self._variables = command, {**SETTINGS, **variables}
        self.folder = Path(tempfile.mkdtemp(prefix="em-standing-", dir="/tmp"))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"{ip}:{port}"
        options = ["--head", f"--port={port}", f"--node-ip-address={ip}", f"--num-cpus={cpus}"]
        if labels:
            options.append(f"--labels={labels}")
        if node_types is not None:
            config = self.folder / "autoscaler.json"
            config.write_text(json.dumps(autoscaler(self.address, cpus, node_types)), encoding="ascii")
            options.append(f"--autoscaling-config={config}")
        more = FAKE_NODES if node_types else {}
        options.append(f"--temp-dir={self.folder}")
        self._head = functools.partial(self._start, *options, inside=inside, more=more)
        self.head = self._head()

    def add_node(
        self, cpus: int, name: str = "", *, inside: Sequence[str] = (), ip: str = "127.0.0.1", **variables: str
    ) -> Marked:
        """Another raylet on this machine, with processes of its own mark.

        Args:
            cpus: of the node.
            name: of its host.
            inside: the command that runs `ray start`, such as `unshare`.
            ip: address of the node.
            variables: of the node alone.
        """
        named = [f"--labels={HOST_LABEL}={name}"] if name else []
        where = (f"--address={self.address}", f"--node-ip-address={ip}", f"--num-cpus={cpus}")
        return self._start(*where, *named, inside=inside, more=variables)

    def start_head_again(self) -> None:
        """A new head at the same address, after the first one was ended.

        On one machine Ray starts none while it sees nodes of another head at that address.
        """
        self.head = self._head()

    def close(self) -> None:
        """Kill all of it and remove its folder."""
        end(self.head)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self, *options: str, inside: Sequence[str] = (), more: Mapping[str, str] = {}) -> Marked:
        head = "--head" in options
        with marked() as mark:
            done = subprocess.run(
                [*inside, *self._command, "start", *options, "--object-store-memory=83886080", "--disable-usage-stats"]
                + (["--include-dashboard=false"] if head else []),
                env={**os.environ, **self._variables, **more},
                capture_output=True,
                text=True,
                timeout=START_S,
                start_new_session=True,
            )
        assert done.returncode == 0, done.stdout + done.stderr
        return mark


def autoscaler(address: str, cpus: int, node_types: Mapping[str, Any]) -> dict[str, Any]:
    """What `ray start --autoscaling-config` reads, for Ray's own provider of nodes on this machine.

    It is named as an external one: the wheel does not have the file of defaults that `fake_multinode` reads.
    """
    module = "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider"
    head = {"resources": {"CPU": cpus}, "node_config": {}, "max_workers": 0}
    return {
        "cluster_name": "fake",
        "max_workers": 4,
        "idle_timeout_minutes": 0.05,
        "provider": {
            "type": "external",
            "module": module,
            "head_node_id": HEAD_ID,
            "gcs_address": address,
            "launch_multiple": True,
        },
        "available_node_types": {HEAD: head, **node_types},
        "head_node_type": HEAD,
        **{key: {} for key in ("auth", "docker", "file_mounts")},
        **{key: [] for key in NOTHING},
        "upscaling_speed": 1.0,
        "file_mounts_sync_continuously": False,
    }


def end(mark: Marked) -> None:
    """Kill all that carries a mark, and see that it is gone."""

    def left() -> list[str]:
        found = mark.processes()
        for process in found:
            process.signal(signal.SIGKILL)
        return [process.command for process in found]

    expect_nothing(left, 20.0)
