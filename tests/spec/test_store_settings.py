"""Settings of the store in a cluster file: what is refused, and where the artifacts of a study are then."""

from pathlib import Path

import pytest

from orchestrator.backends.registry import backends
from orchestrator.errors import MatrixError
from orchestrator.opening import open_study
from orchestrator.spec import cluster
from orchestrator.spec.cluster import Cluster
from orchestrator.spec.store import endpoint_problem, split_url
from orchestrator.store.location import StoreLocation, cache_folder
from workloads.study.workload import WORKLOAD

HERE = "s3://my-bucket/studies"


def load(tmp_path: Path, store: str, *options: str) -> Cluster:
    path = tmp_path / "here.yaml"
    path.write_text(f"backend: fake\nstore: {store}\n", encoding="utf-8")
    return cluster.load_cluster(path, tmp_path, WORKLOAD, backends(), options)


@pytest.mark.parametrize(
    ("store", "message"),
    [
        ("{kind: s3}", r":2: store\.url is missing; with kind: s3 write url: s3://BUCKET/PREFIX"),
        ("{url: s3://my-bucket}", r":2: store\.url is for stores on S3, and store\.kind is 'files'; write kind: s3"),
        ("{cache_gib: 5}", r":2: store\.cache_gib is for stores on S3"),
        ("{kind: s3, bucket: lab}", r":2: store\.bucket is not a key; write url: s3://lab$"),
        ("{kind: s3, prefix: a/b, bucket: lab}", r":2: store\.prefix is not a key; write url: s3://lab/a/b$"),
        ("{kind: s3, prefix: a}", r"write url: s3://BUCKET/a$"),
        ("{kind: s3, url: https://my-bucket/x}", r"store\.url is 'https://my-bucket/x'; write s3://BUCKET/PREFIX"),
        ("{kind: s3, url: my-bucket/x}", r"store\.url is 'my-bucket/x'; write s3://BUCKET/PREFIX"),
        ("{kind: s3, url: 's3://My_Bucket/x'}", r"names the bucket 'My_Bucket'; allowed: 3 to 63 lower-case letters"),
        ("{kind: s3, url: 's3://ab/x'}", r"names the bucket 'ab'; allowed: 3 to 63"),
        ("{kind: s3, url: 's3://10.0.0.1/x'}", r"names the bucket '10\.0\.0\.1'; allowed"),
        ("{kind: s3, url: 's3:///x'}", r"names the bucket ''; allowed"),
        (
            "{kind: s3, url: 's3://key@my-bucket/x'}",
            r"holds what looks like a password.*credentials are read from the env",
        ),
        ("{kind: s3, url: 's3://key:pass@my-bucket/x'}", r"holds an address with a user"),
        ("{kind: s3, url: 's3://my-bucket/x?region=a'}", r"with a query or fragment; .*region are keys beside it"),
        ("{kind: s3, url: 's3://my-bucket/a//b'}", r"has the prefix 'a//b'; allowed: names of letters, digits"),
        ("{kind: s3, url: 's3://my-bucket/a/../b'}", r"has the prefix 'a/\.\./b'; allowed"),
        ("{kind: s3, url: 's3://my-bucket/ä b'}", r"has the prefix 'ä b'; allowed"),
        (f"{{kind: s3, url: s3://my-bucket/{'x' * 301}}}", r"has a prefix of 301 characters; allowed: at most 300"),
        (f"{{kind: s3, url: {HERE}, endpoint: host:9000}}", r"store\.endpoint is 'host:9000'; write https://HOST"),
        (
            f"{{kind: s3, url: {HERE}, endpoint: 'http://key@host'}}",
            r"holds what looks like a password.*credentials are read from the env",
        ),
        (f"{{kind: s3, url: {HERE}, endpoint: 'http://host/b'}}", r"alone: bucket and prefix belong to store\.url"),
        (f"{{kind: s3, url: {HERE}, endpoint: 'http://host:x'}}", r"store\.endpoint is not a URL: "),
        ("{kind: s3, secret_key: x}", r"secret_key.*read from the environment"),
        ("{kind: s3, aws_access_key_id: x}", r"aws_access_key_id is not a key; write nothing: credentials are read"),
        (f"{{kind: s3, url: {HERE}, cache: fast}}", r"store\.cache is 'fast'; write an absolute path, such as /scr"),
        (f"{{kind: s3, url: {HERE}, region: 'eu west'}}", r"store\.region is 'eu west'; write the name of a region"),
        (f"{{kind: s3, url: {HERE}, cache_gib: 0}}", r"store\.cache_gib is 0\.0; allowed: above 0"),
        (f"{{kind: s3, url: {HERE}, key: x}}", r"store\.key is unknown.*; allowed: kind, url, endpoint, region, cache"),
    ],
)
def test_a_store_that_cannot_be_is_refused(tmp_path: Path, store: str, message: str) -> None:
    with pytest.raises(MatrixError, match=message) as refused:
        load(tmp_path, store)
    assert "pass@" not in str(refused.value)
    assert refused.value.exit_code == 2


def test_options_may_give_the_store(tmp_path: Path) -> None:
    found = load(tmp_path, "{}", "store.kind=s3", f"store.url={HERE}/").store
    assert (found.kind, found.url, found.endpoint, found.cache_gib) == ("s3", f"{HERE}/", None, 50.0)
    with pytest.raises(MatrixError, match=r"--set: store\.url is 's4://x'"):
        load(tmp_path, f"{{kind: s3, url: {HERE}}}", "store.url=s4://x")


def test_what_holds_a_user_is_refused_by_itself_too() -> None:
    with pytest.raises(ValueError, match=r"holds credentials; .* read from the environment or ~/\.aws only"):
        split_url("s3://key@my-bucket/x")
    assert "holds credentials" in endpoint_problem("http://key@host")


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("s3://my-bucket", ("my-bucket", "")),
        ("s3://my-bucket/", ("my-bucket", "")),
        ("s3://my.bucket/a=1/b/", ("my.bucket", "a=1/b")),
    ],
)
def test_bucket_and_prefix_of_a_url(url: str, parts: tuple[str, str]) -> None:
    assert split_url(url) == parts


def test_a_study_has_its_own_folder_below_the_url(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECHO_MATRIX_HOME", str(tmp_path))
    path = tmp_path / "here.yaml"
    path.write_text(
        f"backend: ray\nstore: {{kind: s3, url: {HERE}/, endpoint: 'http://127.0.0.1:1', cache: ~/fast}}\n",
        encoding="utf-8",
    )
    study = open_study(root / "matrix.yaml", cluster=path, look=False)
    assert study.store_location == StoreLocation(
        kind="s3",
        folder=str(study.home.resolve() / "store"),
        url=f"{HERE}/{study.home.name}",
        endpoint="http://127.0.0.1:1",
        cache="~/fast",
    )
    assert cache_folder(study.store_location) == Path("~/fast").expanduser()
    assert cache_folder(StoreLocation(folder=""), {"XDG_CACHE_HOME": "/x"}) == Path("/x/echo-matrix")
