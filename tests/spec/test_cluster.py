"""cluster/*.yaml is read as strictly as the matrix."""

import dataclasses
from pathlib import Path

import pytest

from orchestrator.backends.ray.settings import RaySettings
from orchestrator.backends.registry import backends
from orchestrator.backends.slurm.settings import PilotSettings, SlurmSettings, slurm_settings
from orchestrator.errors import MatrixError
from orchestrator.spec import cluster as clusters
from orchestrator.spec.cluster import BUILT_IN, LOCAL, Cluster, cluster_file, is_name
from workloads.study.workload import WORKLOAD


def load_cluster(chosen: Path | None, beside: Path) -> Cluster:
    return clusters.load_cluster(chosen, beside, WORKLOAD, backends())


def test_the_built_in_cluster_is_the_committed_one(root: Path) -> None:
    committed = dataclasses.replace(BUILT_IN, sections={"ray": RaySettings()})
    assert load_cluster(root / "cluster" / "local.yaml", root) == committed


def test_the_cluster_is_looked_for_beside_the_matrix(tmp_path: Path, root: Path) -> None:
    matrix = tmp_path / "matrix.yaml"
    assert load_cluster(None, matrix) is BUILT_IN
    (tmp_path / "cluster").mkdir()
    text = (root / "cluster" / "local.yaml").read_text().replace("idle_s: 60.0", "idle_s: 5")
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
            "{kind: s3, bucket: b}",
            r":4: store\.kind is 's3'; stores on S3 are not supported yet; allowed: files",
        ),
        ("grace_s: 20.0", "", r": grace_s is missing; allowed: a number, 0 and more"),
        (
            "deepspeed: {}",
            "deepspeed: {zero: {stage: 010}}",
            r": deepspeed\.zero\.stage is 010, which YAML reads as an oct",
        ),
    ],
)
def test_a_cluster_that_cannot_be_is_refused(tmp_path: Path, root: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "here.yaml"
    path.write_text((root / "cluster" / "local.yaml").read_text().replace(old, new, 1))
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
    text = (root / "cluster" / "local.yaml").read_text(encoding="utf-8")
    path.write_text(text.replace("deepspeed: {}", f"deepspeed: {given}", 1), encoding="utf-8")
    with pytest.raises(MatrixError, match=message):
        load_cluster(path, tmp_path)


def test_free_settings_keep_their_types(tmp_path: Path, root: Path) -> None:
    path = tmp_path / "here.yaml"
    text = (root / "cluster" / "local.yaml").read_text()
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
    assert load_cluster(Path(name), tmp_path / "matrix.yaml") == dataclasses.replace(BUILT_IN, backend=wanted)


def test_a_name_is_looked_for_beside_the_matrix_and_never_in_the_working_folder(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "study" / "cluster").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "slurm").write_text("not a cluster file")
    text = (root / "cluster" / "slurm.yaml").read_text()
    for name in ("slurm", "ours"):
        (tmp_path / "study" / "cluster" / f"{name}.yaml").write_text(text.replace("max_jobs: 200", "max_jobs: 7"))
        assert load_cluster(Path(name), Path("study") / "matrix.yaml").sections["slurm"].max_jobs == 7
        assert (
            cluster_file(Path(name), Path("study") / "matrix.yaml", backends())
            == Path("study") / "cluster" / f"{name}.yaml"
        )


def test_a_file_stays_a_file(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ours").write_text((root / "cluster" / "slurm.yaml").read_text())
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
    text = (root / "cluster" / "local.yaml").read_text().replace("backend: ray", PILOT, 1)
    path.write_text(text.replace(old, new, 1))
    return load_cluster(path, tmp_path)


def test_there_are_no_pilot_jobs_unless_they_are_asked_for(tmp_path: Path, root: Path) -> None:
    assert slurm_settings(load_cluster(root / "cluster" / "slurm.yaml", root)).pilot is None
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


def test_the_example_of_pilot_jobs_in_the_committed_file_can_be_used(tmp_path: Path, root: Path) -> None:
    lines = (root / "cluster" / "slurm.yaml").read_text().splitlines()
    (example,) = [line.replace("# ", "", 1) for line in lines if line.strip().startswith("# pilot: {")]
    path = tmp_path / "example.yaml"
    path.write_text("\n".join(example if line.strip().startswith("pilot: null") else line for line in lines))
    pilot = slurm_settings(load_cluster(path, tmp_path)).pilot
    assert pilot is not None and pilot.stages == ("evaluate", "judge")


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
    text = (root / "cluster" / "slurm.yaml").read_text()
    path = tmp_path / "short.yaml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(MatrixError, match=rf":\d+: slurm\.{key}\.sbatch has '.*-p short'; write its long form"):
        load_cluster(path, tmp_path)
    path.write_text(text.replace(old, new.replace("-p short", "--partition=short"), 1))
    load_cluster(path, tmp_path)
