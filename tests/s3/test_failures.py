"""What is said when S3 refuses: what is wrong, where, and what to do; never a secret."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from s3_proxy import Fault, FaultProxy, faulty, page, refusal
from s3_servers import CREDENTIALS, Service, credentials, free_port

from orchestrator.errors import DiskError, StoreError, StoreUnreachable, disk_error
from orchestrator.store.location import StoreLocation
from orchestrator.store.s3.client import S3Client, bucket_and_prefix
from orchestrator.store.s3.objects import S3Objects
from orchestrator.store.s3.store import S3Store


@pytest.fixture(scope="module")
def proxy() -> Iterator[FaultProxy]:
    with faulty(Service("http://127.0.0.1:9")) as found:
        yield found


@pytest.fixture(scope="module")
def location(proxy: FaultProxy, tmp_path_factory: pytest.TempPathFactory) -> StoreLocation:
    return proxy.service.behind(proxy.endpoint).location(tmp_path_factory.mktemp("here"), "study")


@pytest.fixture(scope="module")
def objects(location: StoreLocation) -> S3Objects:
    return objects_at(location)


def objects_at(location: StoreLocation) -> S3Objects:
    return S3Objects(S3Client(location), *bucket_and_prefix(location), location)


SKEW = "<RequestTime>20261129T120000Z</RequestTime><ServerTime>2026-11-29T11:20:00Z</ServerTime>"
REFUSALS = {
    "wrong key": (
        refusal(403, "InvalidAccessKeyId"),
        r"does not know these credentials .InvalidAccessKeyId.*AWS_PROFILE",
    ),
    "wrong secret": (refusal(403, "SignatureDoesNotMatch"), "correct AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
    "expired": (
        refusal(400, "ExpiredToken"),
        r"credentials have expired .*aws sso login.*completed jobs stay completed",
    ),
    "no bucket": (refusal(404, "NoSuchBucket"), r"has no bucket 'echo-matrix-tests'; create it, or correct store\.url"),
    "other region": (
        refusal(400, "AuthorizationHeaderMalformed", "<Region>eu-west-1</Region>"),
        r"'echo-matrix-tests' is in region eu-west-1; write region: eu-west-1 under store",
    ),
    "redirect": (
        refusal(301, "PermanentRedirect", x_amz_bucket_region="eu-west-3"),
        r"is in region eu-west-3; write region: eu-west-3 under store in the cluster file",
    ),
    "clock": (refusal(403, "RequestTimeTooSkewed", SKEW), r"wrong by 40 minutes .fast.*set the clock"),
    "denied": (refusal(403, "AccessDenied"), r"denies access .*s3:GetObject.*s3:ListBucket on 'echo-matrix-tests'"),
    "not S3": (page(404, "<html>nothing here</html>"), r"HTTP 404 without an error of S3.*correct store\.endpoint"),
    "a page": (page(200, "<html>hello"), r"without an error of S3, so no S3 service is there"),
    "gateway": (page(502, "<html>bad gateway</html>"), r"fails now .502"),
    "damaged": (Fault("half", forwarded=False, sent=0.5, answer=refusal(404, "NoSuchKey").answer), "broke off|damaged"),
    "unknown": (refusal(400, "KeyTooLongError"), r"refuses ListObjectsV2 .KeyTooLongError: Told to fail"),
    "not built": (refusal(501, "NotImplemented"), "does not support this request"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_says_what_is_wrong_and_what_to_do(
    proxy: FaultProxy, location: StoreLocation, objects: S3Objects, name: str
) -> None:
    fault, message = REFUSALS[name]
    proxy.clear()
    proxy.fail(fault, times=100)
    with pytest.raises((StoreError, StoreUnreachable), match=message) as refused:
        objects.entries("commits/")
    assert str(refused.value).startswith(f"{location.url}/commits/ at {proxy.endpoint}: ")
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({}, r"no credentials on this machine .*set AWS_ACCESS_KEY_ID and .*never written into a file of the study"),
        ({"AWS_ACCESS_KEY_ID": "AKID"}, r"no credentials on this machine .Partial credentials found in env"),
        ({"AWS_PROFILE": "absent"}, r"no credentials on this machine .The config profile .absent. could not be found"),
    ],
    ids=["none", "half", "no such profile"],
)
def test_a_machine_without_credentials(location: StoreLocation, variables: Mapping[str, str], message: str) -> None:
    with credentials(variables), pytest.raises(StoreError, match=message):
        objects_at(location).entries("")


def test_a_service_that_is_not_there(location: StoreLocation) -> None:
    absent = replace(location, endpoint=f"http://127.0.0.1:{free_port()}")
    with pytest.raises(StoreUnreachable, match=r"cannot be reached .*check store\.endpoint") as refused:
        objects_at(absent).entries("")
    # A command prints the sentence and ends with 1, as for a disk that does not respond.
    assert isinstance(disk_error(refused.value), DiskError)
    assert str(disk_error(refused.value)) == str(refused.value)


def test_a_service_that_does_not_speak_tls(location: StoreLocation, proxy: FaultProxy) -> None:
    secure = replace(location, endpoint=proxy.endpoint.replace("http:", "https:"))
    with pytest.raises(StoreError, match=r"no TLS with .*AWS_CA_BUNDLE.*write endpoint: http://"):
        objects_at(secure).entries("")


def test_a_secret_that_the_service_repeats_is_masked(proxy: FaultProxy, objects: S3Objects) -> None:
    secret = CREDENTIALS["AWS_SECRET_ACCESS_KEY"]
    proxy.clear()
    proxy.fail(Fault("repeats", forwarded=False, answer=refusal(403, f"Odd{secret}").answer), times=3)
    with pytest.raises(StoreError) as refused:
        objects.entries("")
    assert secret not in str(refused.value)
    assert "***" in str(refused.value)


def test_a_server_refuses_what_is_wrong_as_the_table_says(seaweed_service: Service, tmp_path: Path) -> None:
    location = seaweed_service.location(tmp_path)
    with (
        credentials({**CREDENTIALS, "AWS_SECRET_ACCESS_KEY": "another-secret"}),
        pytest.raises(StoreError, match="SignatureDoesNotMatch"),
    ):
        S3Store(location).check()
    with (
        credentials({**CREDENTIALS, "AWS_ACCESS_KEY_ID": "AKIDUNKNOWN"}),
        pytest.raises(StoreError, match="InvalidAccessKeyId"),
    ):
        S3Store(location).check()
    with pytest.raises(StoreError, match=r"has no bucket 'no-such-bucket'"):
        S3Store(replace(location, url="s3://no-such-bucket/study")).check()


def test_the_probe_leaves_nothing_behind(seaweed_service: Service, tmp_path: Path) -> None:
    store = S3Store(seaweed_service.location(tmp_path))
    store.check()
    assert store.objects.entries("") == []


def test_a_service_without_conditional_writes_is_refused(nanio_service: Service, tmp_path: Path) -> None:
    store = S3Store(nanio_service.location(tmp_path))
    with pytest.raises(StoreError, match=r"has no conditional writes: .* overwrote the first.*use a service that"):
        store.check()
    assert store.objects.entries("") == []
