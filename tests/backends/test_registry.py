"""Backends are found by name: the built-in ones always, others by an entry point of their package."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.backends.plugin import BackendContext
from orchestrator.backends.protocol import PlacingBackend, QueueingBackend
from orchestrator.backends.registry import BUILT_IN, BackendRegistry, backend_plugin, backends
from orchestrator.errors import BackendError, MatrixError
from orchestrator.spec.cluster import BUILT_IN as BUILT_IN_CLUSTER
from orchestrator.spec.cluster import load_cluster
from orchestrator.store.location import StoreLocation
from workloads.study.workload import WORKLOAD

PLUGIN = """\
from dataclasses import dataclass

from orchestrator.store.location import StoreLocation
from orchestrator.backends.plugin import BackendPlugin
from workloads.contract.fields import Count


@dataclass(frozen=True, kw_only=True)
class Settings:
    pods: Count = 1


PLUGIN = BackendPlugin(
    name="pods", settings=Settings, build=lambda context, cluster: None, outlives_driver=lambda cluster: True
)
"""


def install(folder: Path, module: str, points: str, plugin: str = PLUGIN) -> None:
    """A package with entry points, as pip leaves it."""
    (folder / f"{module}.py").write_text(plugin)
    about = folder / f"{module}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[echo_matrix.backends]\n{points}\n")


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("their_")]:
        del sys.modules[name]


def described(folder: Path, text: str) -> Path:
    path = folder / "theirs.yaml"
    path.write_text(text)
    return path


def test_the_built_in_backends_have_the_names_they_are_found_by() -> None:
    assert list(BUILT_IN) == ["ray", "slurm", "fake"]
    assert [backend_plugin(name).name for name in BUILT_IN] == list(BUILT_IN)
    assert [backends()[name].publishes_results for name in BUILT_IN] == [True, True, False]


def test_the_built_in_backends_are_found_in_a_plain_folder_without_installed_metadata(root: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(root)!r})\n"
        "import importlib.metadata as m; m.entry_points = lambda **_: ()\n"
        "from orchestrator.backends.registry import backends\n"
        "print(*(plugin.name for plugin in backends().values()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    assert done.stdout.split() == list(BUILT_IN)


def test_no_plugin_imports_what_its_backend_needs(root: Path) -> None:
    code = (
        "import sys\nfrom orchestrator.backends.registry import backends\nlist(backends().values())\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert not {"ray", "submitit", "mlflow", "torch", "numpy", "boto3"} & set(done.stdout.split())


def test_the_entry_points_of_this_package_are_the_built_in_ones(root: Path) -> None:
    import tomllib

    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["echo_matrix.backends"] == BUILT_IN


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_plugin_says_of_its_backend_whether_it_outlives_a_driver(name: str, tmp_path: Path) -> None:
    plugin, cluster = backend_plugin(name), replace(BUILT_IN_CLUSTER, backend=name)
    context = BackendContext(
        home=tmp_path, store=StoreLocation(folder=str(tmp_path / "store")), stages=("data",), code_digest="c" * 64
    )
    backend = plugin.build(context, cluster)
    assert backend.outlives_driver == plugin.outlives_driver(cluster) and backend.name == name
    assert isinstance(backend, QueueingBackend) == (name == "slurm")
    assert isinstance(backend, PlacingBackend) == (name != "slurm")


def test_an_unknown_backend_is_refused_with_the_nearest_and_all_there_are() -> None:
    with pytest.raises(BackendError) as refused:
        backend_plugin("rya")
    assert str(refused.value) == "backend is 'rya'; did you mean 'ray'?; allowed: 'ray', 'slurm', 'fake'"


def test_an_installed_package_adds_a_backend_and_its_section(packages: Path) -> None:
    text = "backend: pods\npods: {pods: 3}"
    with pytest.raises(MatrixError, match=r":1: backend is 'pods'; allowed: ray, slurm, fake"):
        load_cluster(described(packages, text), packages, WORKLOAD, BackendRegistry())
    install(packages, "their_pods", "pods = their_pods:PLUGIN")
    registry = BackendRegistry()
    assert list(registry) == [*BUILT_IN, "pods"]
    cluster = load_cluster(described(packages, text), packages, WORKLOAD, registry)
    assert (cluster.backend, cluster.sections["pods"].pods) == ("pods", 3)
    with pytest.raises(MatrixError, match=r":2: pods\.pods is 0; allowed: 1 and more"):
        load_cluster(described(packages, "backend: pods\npods: {pods: 0}"), packages, WORKLOAD, registry)
    assert load_cluster(Path("pods"), packages, WORKLOAD, registry).backend == "pods"


def test_an_installed_package_replaces_a_built_in_backend(packages: Path) -> None:
    install(packages, "their_ray", "ray = their_ray:PLUGIN", PLUGIN.replace('"pods"', '"ray"'))
    assert BackendRegistry()["ray"].settings.__name__ == "Settings"


def test_two_packages_that_offer_one_name_are_refused(packages: Path) -> None:
    for module in ("their_pods", "their_others"):
        install(packages, module, f"pods = {module}:PLUGIN")
    with pytest.raises(BackendError, match=r"two installed packages offer a backend 'pods': .*; uninstall one of them"):
        BackendRegistry()


def test_a_default_for_a_key_that_there_is_not_is_refused(packages: Path) -> None:
    plugin = PLUGIN.replace("build=", "defaults={'grace': 1.0}, build=")
    install(packages, "their_pods", "pods = their_pods:PLUGIN", plugin)
    with pytest.raises(BackendError, match=r"PLUGIN: defaults has 'grace'; did you mean 'grace_s'\?; allowed: store, "):
        BackendRegistry()["pods"]


@pytest.mark.parametrize(
    ("point", "words"),
    [
        ("pods = their_missing:PLUGIN", "cannot be loaded from their_missing:PLUGIN"),
        ("pods = their_pods:NOTHING", "cannot be loaded from their_pods:NOTHING"),
        ("pods = their_pods:Settings", "is not the BackendPlugin of a backend 'pods'"),
        ("other = their_pods:PLUGIN", "is not the BackendPlugin of a backend 'other'"),
    ],
)
def test_a_broken_package_is_named_when_its_backend_is_asked_for(packages: Path, point: str, words: str) -> None:
    install(packages, "their_pods", point)
    registry = BackendRegistry()
    assert registry["fake"].name == "fake", "the others can be used"
    with pytest.raises(BackendError, match=words):
        registry[point.partition(" ")[0]]
