"""The plug-in of the fake: a rehearsal of a whole study, with scripted time and no results."""

import math
import os
import time
from dataclasses import dataclass, replace

from orchestrator.backends.plugin import BackendContext, BackendPlugin, LocalShare
from orchestrator.backends.protocol import Backend
from orchestrator.errors import BackendError
from orchestrator.spec.cluster import Cluster
from workloads.contract.fields import Count, Natural, Positive

NAME = "fake"
SECONDS_VARIABLE = "ECHO_MATRIX_FAKE_S"
"""Seconds that each attempt takes."""


@dataclass(frozen=True, kw_only=True)
class FakeSettings:
    """The host that is pretended. None: of this machine's size."""

    cpus: Count | None = None
    """Processors that jobs may use."""
    devices: Natural | None = None
    """Accelerators that jobs may use."""
    memory_gib: Positive | None = None
    """Main memory that jobs may use, GiB."""


def _local_share(cluster: Cluster) -> LocalShare:
    # A file that was written for Ray is rehearsed by changing the one word `backend`.
    section = next((name for name in (NAME, "ray") if name in cluster.sections), NAME)
    host = cluster.section(section, FakeSettings)
    return LocalShare(section=section, cpus=host.cpus, devices=host.devices, memory_gib=host.memory_gib)


def _build(context: BackendContext, cluster: Cluster) -> Backend:
    """One host; all attempts end well.

    Raises:
        BackendError: `ECHO_MATRIX_FAKE_S` is no number of seconds.
    """
    from orchestrator.backends.fake.backend import FakeBackend
    from orchestrator.store.registry import make_store

    share = _local_share(cluster)
    host = replace(share, devices=share.devices or 0).host("fake-0")
    text = os.environ.get(SECONDS_VARIABLE, "1")
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise BackendError(f"${SECONDS_VARIABLE} is {text!r}; allowed: seconds an attempt, 0 and more, such as 0.5")
    store = make_store(context.store)
    return FakeBackend(store=store, now=time.time, hosts=(host,), seconds=seconds)


PLUGIN = BackendPlugin(
    name=NAME,
    settings=FakeSettings,
    build=_build,
    outlives_driver=lambda _cluster: False,
    local_share=_local_share,
    templates={NAME: (__package__, "fake.yaml")},
    publishes_results=False,
)
