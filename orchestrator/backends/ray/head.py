"""What the head of a standing Ray cluster says: `python -m orchestrator.backends.ray.head ADDRESS` prints it as JSON.

Its versions, its living nodes, and the nodes that its autoscaler may add. It is asked without joining, in a process of
its own, which ends in time whatever Ray does.
"""

import json
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.backends.protocol import HostShare
from orchestrator.backends.ray.address import ClusterSilent, unusable, version_mismatch
from orchestrator.backends.ray.environment import CLUSTER, join_environment
from orchestrator.backends.ray.growth import size_of
from orchestrator.backends.ray.inventory import Inventory
from orchestrator.backends.ray.pipe import REFUSED, SILENT
from orchestrator.errors import SiteError

ANSWER_S = 5.0  # for each question to the head
WITHIN_S = 6.0  # for all of them: Ray looks at no limit while it connects, and tries for 40 s
MATCH = "RAY_DEFAULT_PYTHON_VERSION_MATCH_LEVEL"
"""Variable of Ray's: `minor` lets a driver join a cluster whose Python has another last number."""
ALIVE = 0
"""GcsNodeInfo.ALIVE."""


def share_of(name: str, resources: Mapping[str, float]) -> HostShare:
    """A node's resources, as Ray counts them, as the share that a host there has."""
    return HostShare(name=name, **size_of(resources), group=CLUSTER)


def ask_head(place: str) -> Inventory:
    """What the head at an address, or at `auto`, says; the process ends if it says nothing in time.

    Raises:
        SiteError: the token or a version is another. ClusterSilent: it is no head, or does not answer.
    """
    os.environ.update(join_environment())
    import ray
    from ray._private import services
    from ray._private.utils import compute_version_info
    from ray.exceptions import AuthenticationError, RpcError

    if place == "auto":
        try:
            place = services.canonicalize_bootstrap_address_or_die(None)
        except ConnectionError as error:
            where = "Ray knows of no cluster on this machine, and RAY_ADDRESS is not set"
            raise ClusterSilent(unusable("auto", where)) from error
    raylet: Any = ray._raylet
    timer = _end_in_time(place)
    try:
        head = raylet.GcsClient(address=place)
        metadata = head.internal_kv_get(b"CLUSTER_METADATA", b"cluster", timeout=ANSWER_S)
        living = [node for node in head.get_all_node_info(timeout=ANSWER_S).values() if node.state == ALIVE]
        config = head.internal_kv_get(
            raylet.GCS_AUTOSCALER_CLUSTER_CONFIG_KEY.encode(),
            raylet.GCS_AUTOSCALER_STATE_NAMESPACE.encode(),
            timeout=ANSWER_S,
        )
    except AuthenticationError as error:
        sent = "another" if os.environ.get("RAY_AUTH_MODE") == "token" else "none"
        raise SiteError(
            unusable(
                place,
                f"that cluster asks for a token, and {sent} was sent",
                "set RAY_AUTH_MODE=token and copy the token of its head (`ray get-auth-token` prints it there) to "
                "~/.ray/auth_token",
            )
        ) from error
    except RpcError as error:
        raise ClusterSilent(unusable(place, f"what listens there is no head of a Ray cluster ({error})")) from error
    finally:
        timer.cancel()
    versions = json.loads(metadata or "{}")
    if versions:
        theirs, ours = (versions["ray_version"], versions["python_version"]), compute_version_info()
        mismatch = version_mismatch(place, theirs, ours, patch_counts=os.environ.get(MATCH, "patch") == "patch")
        if mismatch is not None:
            raise SiteError(mismatch)
    shares = (share_of(node.node_manager_hostname, dict(node.resources_total)) for node in living)
    return Inventory(
        version=versions.get("ray_version", ray.__version__),
        nodes=tuple(share for share in shares if share.cpus >= 1),
        may_come=kinds_that_may_come(config),
    )


def kinds_that_may_come(config: bytes | None) -> tuple[HostShare, ...]:
    """The kinds of nodes of an autoscaler, from what it has told the head; none without an autoscaler."""
    if not config:
        return ()
    from ray.core.generated import autoscaler_pb2

    groups = autoscaler_pb2.ClusterConfig.FromString(config).node_group_configs
    shares = (share_of(group.name, dict(group.resources)) for group in groups if group.max_count != 0)
    return tuple(share for share in shares if share.cpus >= 1)


def _end_in_time(place: str) -> threading.Timer:
    """Ray tries for 40 s what does not answer, and does not look at the time limits of what it is asked."""

    def leave() -> None:
        _say(unusable(place, f"what listens there does not answer within {WITHIN_S:g} s as the head of a Ray cluster"))
        os._exit(SILENT)

    timer = threading.Timer(WITHIN_S, leave)
    timer.daemon = True
    timer.start()
    return timer


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(arguments: Sequence[str]) -> int:
    """Print the inventory as JSON; what it cannot be read for is the last line of stderr."""
    answer = os.dup(1)
    os.dup2(2, 1)  # what Ray prints must not be read as the answer
    try:
        found = ask_head(arguments[0])
    except ClusterSilent as error:
        _say(str(error))
        return SILENT
    except SiteError as error:
        _say(str(error))
        return REFUSED
    with os.fdopen(answer, "w") as file:
        json.dump(found.as_json(), file)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
