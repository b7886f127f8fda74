"""Host description: the JSON that the controller writes and from which a host builds its `Node`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.host.code import copy_code
from orchestrator.host.environment import NOTHING_MORE, JobVariables
from orchestrator.host.machine import host_kind, node_address
from orchestrator.host.node import Node
from orchestrator.host.publish import Provenance
from orchestrator.host.scratch import Scratch
from orchestrator.store.location import StoreLocation, location_from
from orchestrator.store.protocol import Store
from orchestrator.store.registry import make_store


def describe(
    home: Path,
    store: StoreLocation,
    *,
    code_digest: str,
    git: str,
    server: Sequence[str],
    version: str = "",
    variables: JobVariables = NOTHING_MORE,
) -> dict[str, Any]:
    """The description of a study's hosts.

    Args:
        home: `outputs/{study}`; the code is copied to `code/{digest}/` in it.
        store: of the study.
        code_digest: of a code snapshot already under `home`; empty: one is made now.
        git: commit of the checkout, for commit records.
        server: the warm server's command line.
        version: of the code, for commit records.
        variables: that jobs get of the environment.
    """
    digest = code_digest or copy_code(home)[0]
    return {
        "code": str(home.resolve() / "code" / digest),
        "digest": digest,
        "git": git,
        "version": version,
        "store": store.as_json(),
        "command": list(server),
        "variables": variables.as_json(),
    }


def store_of(description: Mapping[str, Any]) -> Store:
    """The store that a description names."""
    return make_store(location_from(description["store"]))


def node_of(
    description: Mapping[str, Any], *, visible: Sequence[str], records_endings: bool = False, address: str = ""
) -> Node:
    """The node that a description makes here; the rest as for `Node`, but for an empty address: it is found.

    On a machine that does not see the study's folder the description has `home_here`, the study's folder on this
    machine, and `scratch_gib`.
    """
    home = description.get("home_here")
    return Node(
        store=store_of(description),
        code=Path(description["code"]),
        provenance=Provenance(
            code=description["digest"],
            git=description["git"],
            version=description["version"],
            host_kind=host_kind(),
        ),
        address=address or node_address(),
        visible=visible,
        command=description["command"],
        variables=JobVariables.from_json(description["variables"]),
        records_endings=records_endings,
        scratch=None
        if home is None
        else Scratch(Path(home), Path(description["code"]), float(description["scratch_gib"])),
    )
