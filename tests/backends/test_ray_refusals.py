"""Before anything is spent: a Ray cluster that cannot be used is refused in one sentence that says what to do."""

import os
import re
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from standing import Standing

from orchestrator.backends.ray.address import ClusterSilent
from orchestrator.backends.ray.inventory import read_inventory
from orchestrator.errors import SiteError

TOKEN = "0123456789abcdef0123456789abcdef"
OTHER_VERSION = "import sys, ray; ray.__version__ = '2.40.0'; from ray.scripts.scripts import main; sys.exit(main())"


@pytest.fixture(scope="module")
def guarded() -> Iterator[Standing]:
    """A cluster of another version of ray, with a token."""
    command = (sys.executable, "-c", OTHER_VERSION)
    made = Standing(1, command=command, variables={"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN})
    yield made
    made.close()


def shell(**variables: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return {**kept, **variables}


@pytest.mark.parametrize(
    ("sent", "variables"),
    [("none", {}), ("another", {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN.replace("f", "e")})],
)
def test_a_cluster_that_asks_for_a_token_says_so_and_where_it_is(
    guarded: Standing, tmp_path: Path, sent: str, variables: dict[str, str]
) -> None:
    with pytest.raises(SiteError) as refused:
        read_inventory(guarded.address, shell(**{**variables, "HOME": str(tmp_path)}))
    assert str(refused.value) == (
        f"ray.address is '{guarded.address}': that cluster asks for a token, and {sent} was sent; set "
        "RAY_AUTH_MODE=token and copy the token of its head (`ray get-auth-token` prints it there) to ~/.ray/auth_token"
    )


def test_a_cluster_of_another_version_is_refused_with_both_versions(guarded: Standing) -> None:
    with pytest.raises(SiteError) as refused:
        read_inventory(guarded.address, shell(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=TOKEN))
    python = ".".join(map(str, sys.version_info[:3]))
    assert re.fullmatch(
        rf"ray\.address is '{guarded.address}': that cluster runs ray 2\.40\.0 on Python {python}, and this is ray "
        rf"2\.\d+\.\d+ on Python {python}; these must be equal: use a Python {python} with `pip install ray==2\.40\.0` "
        r"here, or start the cluster with the versions of here",
        str(refused.value),
    )


def test_what_listens_and_is_no_ray_is_given_up_within_seconds() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = f"127.0.0.1:{mute.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(ClusterSilent) as silent:
            read_inventory(address, shell())
    assert str(silent.value) == (
        f"ray.address is '{address}': what listens there does not answer within 6 s as the head of a Ray cluster; "
        "start one there (docs/how-to/ray-cluster.md), correct ray.address, or set it to local"
    )
    assert time.monotonic() - began < 30.0, "Ray itself would try for 40 s after its import"
