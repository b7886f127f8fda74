"""Watches the head of a standing cluster from the child that has joined it.

Ray's client finds out a minute after its head has died, and may never find out that another head listens at the same
address by then: without fault tolerance of its GCS that is another cluster, which knows nothing of the first one's
nodes and hosts.
"""

import time
from typing import Any

import ray
from ray.exceptions import RayError

from orchestrator.backends.ray.address import ClusterSilent, check_reachable

LOOK_S = 1.0
"""Between two looks whether something listens: no head is back so soon."""
ASK_S = 60.0
"""Between two questions which cluster it is, while something does."""
SILENT_S = 15.0
"""A head of which nothing was heard for so long is gone."""


def cluster_id(place: str) -> str:
    """Ray's id of the cluster whose head is at HOST:PORT; each start of a head makes another.

    Raises:
        RayError: it does not answer.
    """
    raylet: Any = ray._raylet
    return str(raylet.GcsClient(address=place).cluster_id.hex())


def why_gone(place: str, joined: str) -> str:
    """Return when the head at HOST:PORT is gone, with the reason; `joined`: id of the cluster that it was of."""
    answered = asked = time.monotonic()
    while True:
        time.sleep(LOOK_S)
        now = time.monotonic()
        try:
            check_reachable(place)
            if now - answered > 2 * LOOK_S or now - asked > ASK_S:  # it was silent in between
                asked = now
                if cluster_id(place) != joined:
                    return f"the head of the Ray cluster at {place} was started again"
            answered = time.monotonic()
        except (ClusterSilent, RayError) as error:
            if time.monotonic() - answered > SILENT_S:
                return f"the head of the Ray cluster at {place} has not answered for {SILENT_S:g} s: {error}"
