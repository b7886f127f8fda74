"""The host actor: one node's share, held by a placement group, serving many jobs.

It is a `Node` that Ray has started; every method returns at once.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.host.machine import host_kind, node_address
from orchestrator.host.node import Node
from orchestrator.host.publish import Provenance
from orchestrator.store.registry import make_store


class Host:
    """What Ray runs on each node (`ray.remote(Host)`)."""

    def __init__(self, settings: Mapping[str, Any], devices: int) -> None:
        """Start the warm server first: it imports for seconds, meanwhile everything else goes on.

        Args:
            settings: `code`, `digest`, `git`, `store_kind`, `store_root`, `command`.
            devices: of the share; Ray names them in CUDA_VISIBLE_DEVICES.
        """
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if devices else []
        self._node = Node(
            store=make_store(settings["store_kind"], Path(settings["store_root"])),
            code=Path(settings["code"]),
            provenance=Provenance(code=settings["digest"], git=settings["git"], host_kind=host_kind()),
            address=node_address(),
            visible=visible,
            command=settings["command"],
        )

    def pid(self) -> int:
        """Process id of the actor."""
        return os.getpid()

    def start(self, submissions: Sequence[Mapping[str, Any]]) -> None:
        """Take attempts."""
        for submission in submissions:
            self._node.start(submission)

    def poll(self, forget: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Drop what the driver knows to have ended, and say what is known of the rest."""
        self._node.forget(forget)
        return self._node.poll()

    def stop(self, attempts: Sequence[str]) -> None:
        """Ask attempts to save and end."""
        self._node.stop(attempts)

    def kill(self, attempts: Sequence[str]) -> None:
        """End attempts at once."""
        self._node.kill(attempts)

    def close(self) -> None:
        """End everything."""
        self._node.close()
