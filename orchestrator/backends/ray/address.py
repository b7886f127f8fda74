"""The address of a standing Ray cluster: can it be one, and does anything answer there.

Ray itself would try an address where nothing answers for most of a minute. Whatever is in the way is one sentence that
says what to do.
"""

import queue
import socket
import threading
from collections.abc import Mapping

from orchestrator.errors import BackendSilent, SiteError

CONNECT_S = 4.0  # for a name to be found, and again for a connection
GUIDE = "docs/how-to/ray-cluster.md"
ALLOWED = "allowed: local, auto, HOST:PORT of the cluster's head"


class ClusterSilent(BackendSilent):
    """Nothing answers at the address of a cluster."""


def unusable(address: str, why: str, remedy: str = "") -> str:
    """That there is no cluster to be used at an address, and what to do."""
    remedy = remedy or f"start one there ({GUIDE}), correct ray.address, or set it to local"
    return f"ray.address is {address!r}: {why}; {remedy}"


def place_of(address: str, environment: Mapping[str, str]) -> str:
    """The HOST:PORT that `ray.address` stands for, where something listens; or `auto`, for Ray to look for.

    Raises:
        SiteError: it is no address. ClusterSilent: nothing listens there.
    """
    place = (environment.get("RAY_ADDRESS") or address) if address == "auto" else address
    check_address(place)
    if place != "auto":
        check_reachable(place)
    return place


def check_address(place: str) -> None:
    """Refuse what is no address.

    Raises:
        SiteError: says what is allowed.
    """
    if place != "auto" and not is_address(place):
        raise SiteError(unusable(place, "that is no address", ALLOWED))


def is_address(place: str) -> bool:
    """Whether it is HOST:PORT."""
    host, _, port = place.rpartition(":")
    return bool(host) and "/" not in host and port.isascii() and port.isdigit() and 0 < int(port) < 1 << 16


def check_reachable(place: str, within_s: float = CONNECT_S) -> None:
    """Check that something listens at HOST:PORT; within twice `within_s`.

    Raises:
        ClusterSilent: nothing does, or the name is not known.
    """
    host, _, port = place.rpartition(":")
    host = host.strip("[]")
    answers: queue.Queue[str | None] = queue.Queue()

    def resolve() -> None:
        try:
            socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
            answers.put(None)
        except (OSError, UnicodeError) as error:
            answers.put(getattr(error, "strerror", None) or str(error))

    # A resolver without a name server waits for longer than anybody wants to.
    threading.Thread(target=resolve, name="resolve", daemon=True).start()
    try:
        problem = answers.get(timeout=within_s)
    except queue.Empty:
        problem = f"no name server answers within {within_s:g} s"
    if problem is not None:
        raise ClusterSilent(unusable(place, f"the name {host!r} is not found ({problem})"))
    try:
        socket.create_connection((host, int(port)), timeout=within_s).close()
    except TimeoutError as error:
        why = f"nothing answers within {within_s:g} s: the host is down, or a firewall drops what is sent"
        raise ClusterSilent(unusable(place, why)) from error
    except OSError as error:
        why = f"nothing answers there ({error.strerror or type(error).__name__})"
        raise ClusterSilent(unusable(place, why)) from error


def version_mismatch(place: str, theirs: tuple[str, str], ours: tuple[str, str], *, patch_counts: bool) -> str | None:
    """That a cluster and this process cannot speak to each other, and what to do; None: they can.

    Args:
        place: of the cluster.
        theirs, ours: versions of ray and of Python.
        patch_counts: whether the last number of Python's version has to be equal.
    """
    kept = 3 if patch_counts else 2
    pythons = [version.split(".")[:kept] for _, version in (theirs, ours)]
    if theirs[0] == ours[0] and pythons[0] == pythons[1]:
        return None
    return unusable(
        place,
        f"that cluster runs ray {theirs[0]} on Python {theirs[1]}, and this is ray {ours[0]} on Python {ours[1]}",
        f"these must be equal: use a Python {theirs[1]} with `pip install ray=={theirs[0]}` here, or start the cluster "
        "with the versions of here",
    )
