"""cluster/*.yaml is read as strictly as the matrix."""

import dataclasses
from pathlib import Path

import pytest

from orchestrator.backends.plugin import BackendPlugin
from orchestrator.backends.ray.settings import RaySettings
from orchestrator.backends.registry import backends
from orchestrator.backends.slurm.settings import PilotSettings, SlurmSettings, SlurmStage, slurm_settings
from orchestrator.errors import MatrixError
from orchestrator.spec import cluster as clusters
from orchestrator.spec.cluster import (
    BUILT_IN,
    LOCAL,
    Cluster,
    EnvironmentSettings,
    RetrySettings,
    cluster_file,
    is_name,
)
from workloads.study.workload import WORKLOAD

EVERY_KEY = Path(__file__).parent / "every_key.yaml"
EVERY_SLURM_KEY = Path(__file__).parent / "every_slurm_key.yaml"


def load_cluster(chosen: Path | None, beside: Path, *assignments: str) -> Cluster:
    return clusters.load_cluster(chosen, beside, WORKLOAD, backends(), assignments)


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "here.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_with_every_key_says_the_defaults(root: Path) -> None:
    """And has every key, so that what is tested with it is tested for all."""
    assert load_cluster(EVERY_KEY, root) == dataclasses.replace(BUILT_IN, sections={"ray": RaySettings()})
    keys = {field.name for field in dataclasses.fields(Cluster)} - {"sections"} | {"ray"}
    assert {line.partition(":")[0] for line in EVERY_KEY.read_text().splitlines() if line[0] != "#"} == keys
    slurm = load_cluster(Path("slurm"), Path("/nowhere"))
    assert load_cluster(EVERY_SLURM_KEY, root) == dataclasses.replace(slurm, sections={"slurm": SlurmSettings()})


def test_a_file_says_only_what_differs(tmp_path: Path) -> None:
    path = written(tmp_path, "backend: slurm\nslurm: {every: {partition: gpu, account: lab}}\nretries: {error: 0}\n")
    cluster = load_cluster(path, tmp_path)
    assert slurm_settings(cluster).every == SlurmStage(partition="gpu", account="lab")
    assert cluster.retries == RetrySettings(error=0)
    assert (cluster.grace_s, cluster.checkpoint_every_s, cluster.idle_s) == (60.0, 300.0, 60.0)
    path.write_text("backend: slurm\ngrace_s: 5\n")
    assert load_cluster(path, tmp_path) == dataclasses.replace(load_cluster(Path("slurm"), tmp_path), grace_s=5.0)


def test_the_defaults_of_a_backend_are_merged_key_by_key(tmp_path: Path) -> None:
    theirs = BackendPlugin(
        name="theirs",
        settings=RaySettings,
        build=backends()["fake"].build,
        outlives_driver=lambda _cluster: True,
        defaults={"retries": {"vanished": 9}, "idle_s": 1.0},
    )
    path = written(tmp_path, "backend: theirs\nretries: {error: 0}\n")
    cluster = clusters.load_cluster(path, tmp_path, WORKLOAD, {"theirs": theirs})
    assert (cluster.retries, cluster.idle_s) == (RetrySettings(error=0, vanished=9), 1.0)


def test_an_option_comes_before_the_file_and_is_checked_like_it(tmp_path: Path) -> None:
    path = written(tmp_path, "backend: slurm\nslurm: {every: {partition: gpu, account: lab}}\n")
    options = ("slurm.every.partition=short", "slurm.stages.train.minutes=30", "paths.pool=/data/a=b", "device_gib=80")
    cluster = load_cluster(path, tmp_path, *options)
    slurm = slurm_settings(cluster)
    assert slurm.every == SlurmStage(partition="short", account="lab") and slurm.of("train").minutes == 30.0
    assert (cluster.paths, cluster.device_gib) == ({"pool": "/data/a=b"}, 80.0)
    nowhere = load_cluster(Path("slurm"), tmp_path, "slurm.pilot={cpus: 8, memory_gib: 32, minutes: 240}", "keep=full")
    assert slurm_settings(nowhere).pilot == PilotSettings(cpus=8, memory_gib=32.0, minutes=240.0)
    assert (nowhere.keep, nowhere.grace_s) == ("full", 60.0)
    assert load_cluster(path, tmp_path, "backend=fake").backend == "fake"


def test_an_option_leaves_what_shares_an_anchor_alone(tmp_path: Path) -> None:
    path = written(tmp_path, "backend: slurm\nslurm: {stages: {train: &long {minutes: 60}, evaluate: *long}}\n")
    slurm = slurm_settings(load_cluster(path, tmp_path, "slurm.stages.train.minutes=5"))
    assert (slurm.of("train").minutes, slurm.of("evaluate").minutes) == (5.0, 60.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["slurm.every.partion=short"],
            "--set: slurm.every.partion is unknown; did you mean 'partition'?; allowed: partition, account, qos, "
            "constraint, minutes, least_minutes, gpus, nodes, at_once, sbatch",
        ),
        (["grace_s=-1"], "--set: grace_s is -1.0; allowed: 0 and more"),
        (["grace_s"], "--set: 'grace_s' is not a setting; write KEY=VALUE, such as grace_s=60"),
        (["=3"], "--set: '=3' is not a setting; write KEY=VALUE, such as grace_s=60"),
        (["grace_s="], '--set: grace_s is without a value; write KEY=VALUE, KEY="" for an empty text'),
        (["grace_s=1", "grace_s=2"], "--set: grace_s is given twice, as 1 and 2; remove one"),
        (["slurm.pilot.cpus=8"], "--set: slurm.pilot.memory_gib is missing (also minutes); allowed: a number, above"),
        (["slurm.stages.tran.minutes=3"], "--set: slurm.stages.tran is unknown; allowed: data, latents, index, train"),
        (["backend=slrum"], "--set: backend is 'slrum'; did you mean 'slurm'?; allowed: ray, slurm, fake"),
        (["backend.x=1"], "--set: backend.x is inside backend, which is the text 'slurm' in HERE and has no keys"),
        (["deepspeed.zero_optimization.stage=7"], "--set: deepspeed.zero_optimization.stage is 7; allowed: 0, 1, 2, 3"),
        (
            ["store.kind=s3"],
            "--set: store.url is missing; with kind: s3 write url: s3://BUCKET/PREFIX, such as s3://my",
        ),
        (["store.bucket=b"], "--set: store.bucket is not a key; write url: s3://b"),
        (["store.kind=s4"], "--set: store.kind is 's4'; allowed: files, s3"),
        (["grace_s=[1"], "--set: grace_s: is not YAML: "),
        (["tracking.uri=mlflow.lab"], "--set: tracking.uri is 'mlflow.lab'; write https://HOST or http://HOST:PORT"),
        (["tracking.uri=http://me:secret@host"], "--set: tracking.uri: holds an address with a user and a password"),
        (["grace_s=1", "idle=1"], "--set: idle is unknown; did you mean 'idle_s'?; allowed: backend, store"),
    ],
    ids=lambda _value: "case",  # pytest puts them into the environment, where KEY=VALUE of a message would be a secret
)
def test_an_option_that_cannot_be_is_refused(tmp_path: Path, options: list[str], message: str) -> None:
    path = written(tmp_path, "backend: slurm\n")
    with pytest.raises(MatrixError) as refused:
        load_cluster(path, tmp_path, *options)
    assert str(refused.value).startswith(message.replace("HERE", str(path)))


@pytest.mark.parametrize(
    ("section", "message"),
    [
        (
            "{node_types: {gpu: {cpus: 8, memory_gib: 60.0}}}",
            "ray.node_types needs an existing cluster, but ray.address is local; name its address",
        ),
        ("{dashboard: 'http://h:8265'}", "ray.dashboard needs an existing cluster, but ray.address is local; name its"),
        ("{address: auto, dashboard: 'h:8265'}", "ray.dashboard is 'h:8265'; allowed: an address such as http://127.0"),
        (
            "{address: auto, dashboard: 'http://'}",
            "ray.dashboard is 'http://'; allowed: an address such as http://127.0",
        ),
        (
            "{address: 'http://h:1'}",
            "ray.address is 'http://h:1'; allowed: local, auto, HOST:PORT of the cluster's head",
        ),
        (
            "{address: auto, node_types: {gpu: {cpus: 8}}}",
            "ray.node_types.gpu.memory_gib is missing; allowed: a number",
        ),
        (
            "{address: auto, node_types: {gpu: {cpus: 0, memory_gib: 1}}}",
            "ray.node_types.gpu.cpus is 0; allowed: 1 and",
        ),
    ],
    ids=["nodes-of-an-own-ray", "dashboard-of-an-own-ray", "no-address", "no-host", "no-head", "no-memory", "no-cpus"],
)
def test_a_cluster_that_cannot_grow_or_be_asked_is_refused(tmp_path: Path, section: str, message: str) -> None:
    path = written(tmp_path, f"backend: ray\nray: {section}\n")
    with pytest.raises(MatrixError) as refused:
        load_cluster(path, tmp_path)
    assert str(refused.value).startswith(f"{path}:2: {message}")


def test_what_the_file_has_wrong_is_said_of_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "backend: slurm\nidle_s: -1\nslurm: {every: {sbatch: [-p x]}}\n")
    with pytest.raises(MatrixError, match=r"here\.yaml:2: idle_s is -1\.0"):
        load_cluster(path, tmp_path, "grace_s=3")
    with pytest.raises(MatrixError, match=r"here\.yaml:3: slurm\.every\.sbatch has '-p x'"):
        load_cluster(path, tmp_path, "idle_s=3", "slurm.max_jobs=3")


def test_the_cluster_is_looked_for_beside_the_matrix(tmp_path: Path, root: Path) -> None:
    matrix = tmp_path / "matrix.yaml"
    assert load_cluster(None, matrix) == BUILT_IN
    (tmp_path / "cluster").mkdir()
    text = EVERY_KEY.read_text().replace("idle_s: 60.0", "idle_s: 5")
    (tmp_path / "cluster" / "local.yaml").write_text(text)
    assert load_cluster(None, matrix).idle_s == load_cluster(None, tmp_path).idle_s == 5.0


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("backend: ray", "backend: rey", r":2: backend is 'rey'; did you mean 'ray'\?; allowed: ray, slurm, fake"),
        ("idle_s", "idles", r": idles is unknown; did you mean 'idle_s'\?"),
        ("error: 1", "error: -1", r": retries\.error is -1; allowed: 0 and more"),
        ("deterministic: true", "deterministic: on", r": deterministic is on; write true"),
        (
            "{kind: files}",
            "{kind: s3, bucket: lab, prefix: /studies/}",
            r":4: store\.bucket is not a key; write url: s3://lab/studies",
        ),
        ("backend: ray", "", r":3: backend is missing; allowed: ray, slurm, fake"),
        ("backend: ray", "backend:", r":2: backend is ''; allowed: ray, slurm, fake"),
        (
            "deepspeed: {}",
            "deepspeed: {zero: {stage: 010}}",
            r": deepspeed\.zero\.stage is 010, which YAML reads as an oct",
        ),
    ],
)
def test_a_cluster_that_cannot_be_is_refused(tmp_path: Path, root: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "here.yaml"
    path.write_text(EVERY_KEY.read_text().replace(old, new, 1))
    with pytest.raises(MatrixError, match=message):
        load_cluster(path, tmp_path)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("[]", r": deepspeed is a list; allowed: a mapping, key: value"),
        ("2", r": deepspeed is '2', a number; allowed: a mapping"),
        ("{zero_optimization: 2}", r":\d+: deepspeed\.zero_optimization is 2; allowed: a mapping; or remove it"),
        ("{zero_optimization: null}", r": deepspeed\.zero_optimization is None; allowed: a mapping"),
        ("{zero_optimization: {stage: two}}", r": deepspeed\.zero_optimization\.stage is 'two'; allowed: 0, 1, 2, 3"),
        ("{zero_optimization: {stage: 4}}", r"stage is 4; allowed: 0, 1, 2, 3"),
        ("{zero_optimization: {stage: 2.5}}", r"stage is 2\.5; allowed: 0, 1, 2, 3"),
        ("{zero_optimization: {offload_optimizer: null}}", r"\.offload_optimizer is None; allowed: a mapping"),
        ("{zero_optimization: {stage: 3, offload_param: cpu}}", r"\.offload_param is 'cpu'; allowed: a mapping"),
        (
            "{zero_optimization: {reduce_bucket_size: auto}}",
            r"\.reduce_bucket_size is 'auto'; allowed: a number above 0",
        ),
        ("{zero_optimization: {stage3_max_live_parameters: []}}", r"\.stage3_max_live_parameters is \[\]; allowed"),
        ("{optimizer: {type: Lion}}", r":\d+: deepspeed\.optimizer is fixed by the study, .* under controls\.training"),
        ("{activation_checkpointing: 3}", r": deepspeed\.activation_checkpointing is 3; allowed: a mapping"),
        (
            "{activation_checkpointing: false}",
            r"activation_checkpointing is False; allowed: a mapping; or remove it",
        ),
    ],
)
def test_settings_of_deepspeed_that_the_study_fixes_or_no_plan_can_count_with_are_refused(
    tmp_path: Path, root: Path, given: str, message: str
) -> None:
    path = tmp_path / "here.yaml"
    text = EVERY_KEY.read_text(encoding="utf-8")
    path.write_text(text.replace("deepspeed: {}", f"deepspeed: {given}", 1), encoding="utf-8")
    with pytest.raises(MatrixError, match=message):
        load_cluster(path, tmp_path)


def test_free_settings_keep_their_types(tmp_path: Path, root: Path) -> None:
    path = tmp_path / "here.yaml"
    text = EVERY_KEY.read_text()
    path.write_text(
        text.replace("deepspeed: {}", "deepspeed: {zero_optimization: {stage: 1, x: [1.5, true, a, null]}}")
    )
    assert load_cluster(path, tmp_path).deepspeed == {"zero_optimization": {"stage": 1, "x": [1.5, True, "a", None]}}


def test_a_named_cluster_must_exist(tmp_path: Path) -> None:
    with pytest.raises(MatrixError, match="no such file"):
        load_cluster(tmp_path / "none.yaml", tmp_path)


@pytest.mark.parametrize("name", (LOCAL, *backends()))
def test_a_name_without_a_file_is_the_built_in_values_with_that_backend(tmp_path: Path, name: str) -> None:
    wanted = "ray" if name == "local" else name
    defaults = backends()[wanted].defaults
    wanted_cluster = dataclasses.replace(BUILT_IN, backend=wanted, **defaults)
    assert load_cluster(Path(name), tmp_path / "matrix.yaml") == wanted_cluster


def test_a_name_is_looked_for_beside_the_matrix_and_never_in_the_working_folder(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "study" / "cluster").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "slurm").write_text("not a cluster file")
    text = EVERY_SLURM_KEY.read_text()
    for name in ("slurm", "ours"):
        (tmp_path / "study" / "cluster" / f"{name}.yaml").write_text(text.replace("max_jobs: 200", "max_jobs: 7"))
        assert load_cluster(Path(name), Path("study") / "matrix.yaml").sections["slurm"].max_jobs == 7
        assert (
            cluster_file(Path(name), Path("study") / "matrix.yaml", backends())
            == Path("study") / "cluster" / f"{name}.yaml"
        )


def test_a_file_stays_a_file(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ours").write_text(EVERY_SLURM_KEY.read_text())
    for path in (Path("ours"), tmp_path / "ours", Path("./here.yaml"), Path("cluster/slurm")):
        assert not is_name(path, backends())
        assert cluster_file(path, root, backends()) == path
    assert load_cluster(Path("ours"), root).backend == "slurm"


def test_an_unknown_name_is_refused_with_those_there_are(tmp_path: Path) -> None:
    (tmp_path / "cluster").mkdir()
    (tmp_path / "cluster" / "ours.yaml").write_text("")
    with pytest.raises(MatrixError) as refused:
        load_cluster(Path("slurn"), tmp_path)
    assert str(refused.value) == (
        "--cluster is 'slurn', which is neither a file nor a known name; did you mean 'slurm'?; allowed: fake, "
        f"local, ours, ray, slurm, or a file such as {tmp_path}/cluster/slurm.yaml"
    )


PILOT = "backend: slurm\nslurm:\n  pilot: {cpus: 8, memory_gib: 32, minutes: 240}"


def pilot_cluster(tmp_path: Path, root: Path, old: str = "", new: str = "") -> Cluster:
    path = tmp_path / "pilot.yaml"
    text = EVERY_KEY.read_text().replace("backend: ray", PILOT, 1)
    path.write_text(text.replace(old, new, 1))
    return load_cluster(path, tmp_path)


def test_there_are_no_pilot_jobs_unless_they_are_asked_for(tmp_path: Path, root: Path) -> None:
    assert slurm_settings(load_cluster(EVERY_SLURM_KEY, root)).pilot is None
    pilot = slurm_settings(pilot_cluster(tmp_path, root)).pilot
    assert pilot == PilotSettings(cpus=8, memory_gib=32.0, minutes=240.0)
    assert pilot is not None and pilot.stages is None


def test_packed_is_read_as_the_former_name_of_pilot(tmp_path: Path, root: Path) -> None:
    former = pilot_cluster(tmp_path, root, "pilot: {", "packed: {")
    assert former == pilot_cluster(tmp_path, root)
    assert slurm_settings(former) == SlurmSettings(pilot=PilotSettings(cpus=8, memory_gib=32.0, minutes=240.0))
    with pytest.raises(MatrixError, match=r":4: slurm\.packed\.cpus is 0; allowed: 1 and more"):
        pilot_cluster(tmp_path, root, "pilot: {cpus: 8", "packed: {cpus: 0")
    with pytest.raises(MatrixError, match=r":5: slurm\.packed is the former name of slurm\.pilot, which is there too"):
        pilot_cluster(tmp_path, root, "minutes: 240}", "minutes: 240}\n  packed: null")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("cpus: 8, ", "", r":4: slurm\.pilot\.cpus is missing; allowed: a whole number, 1 and more"),
        ("cpus: 8", "cpus: 0", r":4: slurm\.pilot\.cpus is 0; allowed: 1 and more"),
        ("memory_gib: 32", "memory_gib: 2", r":4: slurm\.pilot\.memory_gib is 2\.0; allowed: above 2\.0"),
        ("cpus: 8", "cpu: 8", r":4: slurm\.pilot\.cpu is unknown; did you mean 'cpus'\?"),
        (
            "minutes: 240",
            "minutes: 240, stages: [evaluat]",
            r":4: slurm\.pilot\.stages\[0\] is 'evaluat'; did you mean 'evaluate'\?; allowed: data, latents",
        ),
        (
            "minutes: 240",
            'minutes: 240, gpus: "a100:4"',
            r":4: slurm\.pilot\.gpus is 'a100:4', but slurm\.pilot\.devices is 0; say there how many",
        ),
    ],
)
def test_pilot_jobs_that_cannot_be_are_refused(tmp_path: Path, root: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(MatrixError, match=message):
        pilot_cluster(tmp_path, root, old, new)


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("constraint: null, sbatch: []", 'constraint: null, sbatch: ["--exclusive", "-p short"]', "every"),
        ("stages: {}", 'stages: {train: {sbatch: ["#SBATCH -p short"]}}', "stages.train"),
        ("pilot: null", 'pilot: {cpus: 8, memory_gib: 32, minutes: 240, sbatch: ["-p short"]}', "pilot"),
    ],
)
def test_a_short_option_of_sbatch_is_refused_when_the_file_is_read(
    tmp_path: Path, root: Path, old: str, new: str, key: str
) -> None:
    """It would be written as one of three dashes, which sbatch refuses at the first attempt."""
    text = EVERY_SLURM_KEY.read_text()
    path = tmp_path / "short.yaml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(MatrixError, match=rf":\d+: slurm\.{key}\.sbatch has '.*-p short'; write its long form"):
        load_cluster(path, tmp_path)
    path.write_text(text.replace(old, new.replace("-p short", "--partition=short"), 1))
    load_cluster(path, tmp_path)


def test_variables_are_named_or_begin_alike(tmp_path: Path, root: Path) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text("backend: fake\nenvironment:\n  jobs: [LAB_POOL, DATA_*]\n  on_event: [HOOK]\n")
    assert load_cluster(path, root).environment == EnvironmentSettings(jobs=("LAB_POOL", "DATA_*"), on_event=("HOOK",))
    for wrong in ("*", "a b", "*_KEY", "LAB-POOL"):
        path.write_text(f"backend: fake\nenvironment:\n  jobs: ['{wrong}']\n")
        with pytest.raises(MatrixError, match=r"lab\.yaml:3: environment\.jobs has .*such as DATA_\*"):
            load_cluster(path, root)


def test_a_scratch_folder_of_ray_is_the_same_on_each_node(tmp_path: Path) -> None:
    path = written(tmp_path, "backend: ray\nray: {address: auto, scratch: here}\n")
    with pytest.raises(MatrixError, match=r"here\.yaml:2: ray\.scratch is 'here'; write an absolute path, such as /s"):
        load_cluster(path, tmp_path)
