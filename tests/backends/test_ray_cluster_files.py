"""The files that start Ray clusters: valid by the schemas of Ray and of KubeRay, pinned, and closed."""

import configparser
import importlib.util
import json
import lzma
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from write_kuberay_schemas import KUBERAY, SCHEMAS

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "cluster/ray"
LAUNCHED = ("aws", "machines")
KUBERNETES = {"kuberay-cluster": "RayCluster", "kuberay-job": "RayJob"}


def read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    return content


def valid(content: dict[str, Any], schema: dict[str, Any]) -> None:
    """As `jsonschema.validate`, which would first check the schema itself, for seconds."""
    error = next(jsonschema.Draft202012Validator(schema).iter_errors(content), None)
    if error is not None:
        raise error


def pinned(package: str) -> str:
    (version,) = re.findall(
        rf"^{package}==(\S+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE
    )
    return str(version)


def starts(content: dict[str, Any]) -> list[str]:
    """The commands of a launcher's file that start Ray."""
    commands = [*content["head_start_ray_commands"], *content["worker_start_ray_commands"]]
    return [one for one in commands if "ray start" in one]


def cluster_spec(name: str) -> dict[str, Any]:
    spec: dict[str, Any] = read(name)["spec"]
    return dict(spec.get("rayClusterSpec", spec))


def containers(spec: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        yield from group["template"]["spec"]["containers"]


def test_every_file_is_of_a_kind_that_is_checked_here() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {
        "node.service",
        *(f"{one}.yaml" for one in (*LAUNCHED, *KUBERNETES)),
    }


@pytest.mark.parametrize("name", LAUNCHED)
def test_rays_launcher_takes_the_file(name: str) -> None:
    (place,) = importlib.util.find_spec("ray").submodule_search_locations or ()  # type: ignore[union-attr]
    schema = json.loads((Path(place) / "autoscaler/ray-schema.json").read_text(encoding="utf-8"))
    content = read(name)
    valid(content, schema)
    types = content.get("available_node_types", {})
    assert content.get("head_node_type") in (types or [None])
    with pytest.raises(jsonschema.ValidationError, match="worker_typo"):
        valid({**content, "worker_typo": 1}, schema)


@pytest.mark.slow  # schemas of thousands of fields
@pytest.mark.parametrize("name, kind", KUBERNETES.items())
def test_kuberay_takes_the_file(name: str, kind: str) -> None:
    schema = json.loads(lzma.decompress(SCHEMAS.read_bytes()))[kind]
    content = read(name)
    assert (content["apiVersion"], content["kind"]) == ("ray.io/v1", kind)
    valid(content, schema)
    assert f"KubeRay {KUBERAY}" in (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    with pytest.raises(jsonschema.ValidationError, match="rayVersoin"):
        valid({**content, "spec": {**content["spec"], "rayVersoin": "1"}}, schema)


def test_the_job_has_the_cluster_of_the_other_file() -> None:
    alone, of_job = cluster_spec("kuberay-cluster"), cluster_spec("kuberay-job")
    hosts = [spec["headGroupSpec"]["rayStartParams"].pop("dashboard-host") for spec in (alone, of_job)]
    assert hosts == ["127.0.0.1", "0.0.0.0"], "KubeRay itself asks the dashboard for the state of a job"
    assert of_job == alone


@pytest.mark.parametrize("name", [*LAUNCHED, *KUBERNETES])
def test_the_version_of_ray_is_the_one_that_is_pinned(name: str) -> None:
    text = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    assert set(re.findall(r"\b2\.\d\d\.\d+\b", text)) == {pinned("ray")}


@pytest.mark.parametrize("name", LAUNCHED)
def test_ray_is_started_with_a_token_and_its_dashboard_on_loopback(name: str) -> None:
    content = read(name)
    assert len(starts(content)) == 2
    for command in starts(content):
        assert "RAY_AUTH_MODE=token" in command
        assert "--disable-usage-stats" in command
        assert ("--dashboard-host=127.0.0.1" in command) == ("--head" in command)
    assert any(path.endswith("/.ray/auth_token") for path in content["file_mounts"])


@pytest.mark.parametrize("name", KUBERNETES)
def test_pods_of_kubernetes_have_a_token_and_no_port_outside(name: str) -> None:
    spec = cluster_spec(name)
    assert spec["authOptions"] == {"mode": "token"}
    assert spec["headGroupSpec"]["serviceType"] == "ClusterIP"
    assert spec["rayVersion"] == pinned("ray")
    for container in containers(spec):
        variables = {one["name"]: one["value"] for one in container["env"]}
        assert {"RAY_worker_niceness", "RAY_memory_monitor_refresh_ms", "ECHO_MATRIX_HOME"} <= set(variables)
        assert "RAY_AUTH_MODE" not in variables  # KubeRay sets it


def test_a_node_under_systemd_comes_back_and_has_the_options_of_the_launchers_nodes() -> None:
    unit = configparser.ConfigParser()
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(FOLDER / "node.service", encoding="utf-8")
    service = unit["Service"]
    assert (
        service["Restart"] == "always"
        and " ray start --block " in f" {service['ExecStart'].replace('/shared/venv/bin/', '')} "
    )
    (worker,) = read("machines")["worker_start_ray_commands"]
    variables, _, options = worker.partition(" /shared/venv/bin/ray start ")
    assert set(service["Environment"].split()) == set(variables.split())
    started = options.replace("$RAY_HEAD_IP", read("machines")["provider"]["head_ip"])
    assert service["ExecStart"] == f"/shared/venv/bin/ray start --block {started}"


@pytest.mark.parametrize("name", ["aws", *KUBERNETES])
def test_nodes_that_cost_money_are_not_kept(name: str) -> None:
    if name == "aws":
        content = read(name)
        types = [one for key, one in content["available_node_types"].items() if key != content["head_node_type"]]
        assert content["idle_timeout_minutes"] <= 5
        assert [one.get("min_workers", 0) for one in types] == [0] * len(types)
    else:
        spec = cluster_spec(name)
        assert spec["enableInTreeAutoscaling"] is True
        assert spec["autoscalerOptions"]["idleTimeoutSeconds"] <= 300
        assert [(one["replicas"], one["minReplicas"]) for one in spec["workerGroupSpecs"]] == [(0, 0)]
