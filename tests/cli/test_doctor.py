"""`doctor`: each check on a healthy study and on one where exactly its part is broken; it changes nothing."""

import base64
import dataclasses
import json
import math
import os
import resource
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from rehearsal import Rehearsal

from orchestrator.backends.check_result import CheckResult, bad, ok, warning
from orchestrator.backends.plugin import PlannedRun
from orchestrator.backends.ray.settings import RaySettings
from orchestrator.backends.registry import backend_plugin
from orchestrator.backends.slurm.checks import accounting, signals
from orchestrator.backends.slurm.preflight.site import Site
from orchestrator.commands.doctor.checks import all_checks, examine, findings_json, findings_text, worst
from orchestrator.commands.doctor.subject import Subject
from orchestrator.errors import SiteError
from orchestrator.host.machine import file_system
from orchestrator.host.processes import start_time, write_processes
from orchestrator.opening import open_study
from orchestrator.plan.job import Job
from orchestrator.schedule.lease import acquire
from orchestrator.schedule.lease_holder import NAME as DRIVER
from orchestrator.schedule.lease_holder import this_process
from orchestrator.schedule.ledger.database import NAME, Attempt, Ledger
from orchestrator.spec.cluster import BUILT_IN, Cluster, EnvironmentSettings, TrackingSettings
from orchestrator.study import Study
from orchestrator.wording import public_url

SECRET = "hunter2-hunter2"


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: Path) -> Study:
    monkeypatch.setenv("ECHO_MATRIX_HOME", str(tmp_path))
    return open_study(root / "matrix.yaml")


def cluster_with(**changes: object) -> Cluster:
    return dataclasses.replace(BUILT_IN, **changes)  # type: ignore[arg-type]


def look(check: str, study: Study, cluster: Cluster = BUILT_IN, **environment: str) -> list[CheckResult]:
    subject = Subject(study=dataclasses.replace(study, cluster=cluster), environment=environment)
    return list(all_checks()[check](subject))


def levels(found: list[CheckResult]) -> set[str]:
    return {finding.level for finding in found}


def test_a_new_study_on_this_machine_is_well_and_nothing_is_made(study: Study) -> None:
    found = examine(Subject(study=study, environment={}))
    assert [finding for name, finding in found if finding.level == "bad" and name not in ("temporary", "disk")] == []
    assert not study.home.exists()
    assert {name for name, _ in found} == set(all_checks())


def test_each_thing_that_is_not_well_has_a_remedy(study: Study) -> None:
    broken = cluster_with(
        sections={"ray": RaySettings(address="nowhere", cpus=None, memory_gib=None)},
        paths={"pool": "/no/such/pool"},
        tracking=TrackingSettings(kind="mlflow", uri="http://127.0.0.1:9"),
    )
    found = examine(Subject(study=dataclasses.replace(study, cluster=broken), environment={}))
    assert {"paths", "ray", "tracker"} <= {name for name, finding in found if finding.level == "bad"}
    assert all(finding.remedy for _, finding in found if finding.level != "ok")
    assert worst(found) == "bad"


def test_a_folder_that_every_user_may_write_to_is_told(study: Study, tmp_path: Path) -> None:
    code = study.home / "code"
    code.mkdir(parents=True)
    for mode, says in (
        (0o755, "its owner may write, every user may read"),
        (0o770, "its owner and its group may write, its owner and its group may read"),
        (0o700, "its owner may write, its owner may read"),
    ):
        study.home.chmod(mode)
        assert [(one.level, one.says) for one in look("access", study)] == [("ok", f"{study.home}: {says}")]
    for folder in (code, study.home, tmp_path):
        before = folder.stat().st_mode
        folder.chmod(0o777)
        (found,) = look("access", study)
        assert found.level == "warning" and found.says.startswith(
            f"{folder}: every user of this machine may write here"
        )
        assert found.remedy.startswith(f"chmod o-w {folder}; ")
        folder.chmod(0o1777)
        expected = "ok" if folder == tmp_path else "warning"
        assert levels(look("access", study)) == {expected}, "as in /tmp, nobody moves what is another's, but adds to it"
        folder.chmod(before)


def test_a_folder_that_is_to_be_made_where_all_may_make_folders_is_made_first(study: Study, tmp_path: Path) -> None:
    shared = tmp_path / "tmp"
    shared.mkdir()
    shared.chmod(0o1777)
    new = dataclasses.replace(study, home=shared / "outputs" / "study")
    (found,) = look("access", new)
    assert (found.level, found.remedy) == ("warning", f"mkdir -p {new.home}"), "and not chmod of a folder like /tmp"


def test_a_redirect_is_not_followed_and_takes_no_credentials_along(study: Study) -> None:
    received: list[str | None] = []

    class Redirecting(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            received.append(self.headers["Authorization"])
            self.send_response(302)
            self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}/elsewhere")  # type: ignore[attr-defined]
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    with HTTPServer(("127.0.0.1", 0), Redirecting) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        cluster = cluster_with(tracking=TrackingSettings(kind="mlflow", uri=f"http://127.0.0.1:{server.server_port}"))
        (found,) = look("tracker", study, cluster, MLFLOW_TRACKING_TOKEN=SECRET)
        server.shutdown()
    assert received == [f"Bearer {SECRET}"]
    assert found.level == "bad" and "redirects (302), which is not followed" in found.says


def test_a_stage_that_no_host_can_take_is_named_with_both_numbers(study: Study) -> None:
    (first, *_) = look(
        "resources", study, cluster_with(sections={"ray": RaySettings(address="local", cpus=2, memory_gib=0.5)})
    )
    assert first.level == "bad"
    assert "requests memory_gib 2 of 0.5: no host can run it" in first.says


def test_a_library_that_jobs_would_not_find_is_named(study: Study) -> None:
    workload = dataclasses.replace(study.plan.workload, preload=("numpy", "not_a_library.part"))
    other = dataclasses.replace(study, plan=dataclasses.replace(study.plan, workload=workload))
    missing, found = look("python", other)
    assert (missing.level, missing.says) == ("bad", "jobs would not find: not_a_library")
    assert missing.remedy.startswith("pip install not_a_library, or load the module that has it")
    assert found.level == "ok" and "mlflow" in found.says


def test_more_devices_than_there_are_are_bad_where_jobs_ask_for_one(study: Study) -> None:
    cluster = cluster_with(sections={"ray": RaySettings(devices=2)})
    said = "ray.devices is 2, but 0 can be used here, as CUDA_VISIBLE_DEVICES is ''"
    first, *_ = look("resources", study, cluster, CUDA_VISIBLE_DEVICES="")
    assert (first.level, first.says) == ("warning", said), "no job of this profile asks for one"
    jobs = [
        dataclasses.replace(job, resources=dataclasses.replace(job.resources, devices=1))
        for job in study.plan.jobs.values()
    ]
    on_devices = dataclasses.replace(study.plan, jobs={job.id: job for job in jobs})
    first, *_ = look("resources", dataclasses.replace(study, plan=on_devices), cluster, CUDA_VISIBLE_DEVICES="")
    assert (first.level, first.says) == ("bad", said)


def test_a_run_is_refused_before_ray_would_fail_over_devices(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    cluster = cluster_with(sections={"ray": RaySettings(devices=2)})
    job = next(iter(study.plan.jobs.values()))
    on_device = dataclasses.replace(job, resources=dataclasses.replace(job.resources, devices=1))

    def preflight(*jobs: Job) -> None:
        planned = PlannedRun(
            home=study.home, cluster=cluster, cluster_file=study.cluster_file, matrix=study.matrix, jobs=jobs
        )
        backend_plugin("ray").preflight(planned, print)

    preflight(job)
    with pytest.raises(SiteError, match=r"ray.devices is 2, but 0 can be used here.*set ray.devices to null or to 0"):
        preflight(on_device)


def test_a_ledger_that_is_broken_is_bad_and_is_left_as_it_is(study: Study) -> None:
    study.home.mkdir(parents=True)
    (study.home / NAME).write_bytes(b"not a database" * 1000)
    assert levels(look("ledger", study)) == {"bad"}
    assert (study.home / NAME).read_bytes() == b"not a database" * 1000
    (study.home / f"{NAME}.broken-7").write_bytes(b"")
    assert levels(look("ledger", study)) == {"bad", "warning"}


def test_a_page_of_the_ledger_that_is_garbled_is_found(study: Study) -> None:
    with Ledger.open(study.home / NAME) as ledger, ledger.transaction():
        for number in range(200):
            ledger.record_intent(attempt_of(study, f"a{number:03d}"))
    path = study.home / NAME
    content = bytearray(path.read_bytes())
    content[4096 * 3 : 4096 * 4] = b"\xff" * 4096
    path.write_bytes(content)
    assert levels(look("ledger", study)) == {"bad"}


def test_the_variables_that_jobs_do_not_get_are_named_and_those_that_one_stage_gets(study: Study) -> None:
    shell = {"PATH": "/bin", "HF_TOKEN": SECRET, "LAB_POOL": "/pool", "ECHO_MATRIX_JUDGE_KEY": SECRET, "HOOK": "h"}
    says = [finding.says for finding in look("variables", study, **shell)]
    assert says == [
        "jobs get 1 of this shell's 5 variables, not ECHO_MATRIX_JUDGE_KEY, HF_TOKEN, HOOK, LAB_POOL",
        "those of stage judge also get ECHO_MATRIX_JUDGE_KEY",
        "those of stage bound also get ECHO_MATRIX_JUDGE_KEY",
    ]
    more = EnvironmentSettings(jobs=("HF_TOKEN", "LAB_*"))
    command = "sh -c 'curl $HOOK'"
    first, *_, unknown = look("variables", study, cluster_with(environment=more, on_event=command), **shell)
    assert first.says == "jobs get 3 of this shell's 5 variables, not ECHO_MATRIX_JUDGE_KEY, HOOK"
    assert (unknown.level, unknown.says) == ("warning", "on_event reads HOOK, which it does not get")
    assert unknown.remedy == "environment: {on_event: [HOOK]}"
    given = EnvironmentSettings(on_event=("HOOK",))
    assert levels(look("variables", study, cluster_with(environment=given, on_event=command), **shell)) == {"ok"}


def attempt_of(study: Study, name: str) -> Attempt:
    job = next(iter(study.plan.jobs.values()))
    return Attempt(
        id=name,
        fingerprint=job.fingerprint,
        job=job.id,
        label=job.label,
        stage=job.stage,
        host="h",
        intended=0.0,
    )


def test_who_drives_is_told_alive_dead_elsewhere_or_unreadable(study: Study) -> None:
    assert look("lease", study)[0].says == "no run in progress"
    with acquire(study.home):
        (alive,) = look("lease", study)
        assert (alive.level, alive.says) == ("ok", f"run by pid {os.getpid()} on {socket.gethostname()}")
    own = this_process()
    for holder, level, words in (
        (dataclasses.replace(own, start_time=own.start_time + 1), "ok", "has died"),
        (dataclasses.replace(own, boot_id="another"), "warning", "cannot be checked from this machine"),
    ):
        (study.home / DRIVER).write_text(json.dumps(dataclasses.asdict(holder)), encoding="utf-8")
        (found,) = look("lease", study)
        assert found.level == level
        assert words in found.says
    (study.home / DRIVER).write_bytes(b"\0" * 1024)
    assert levels(look("lease", study)) == {"bad"}


def test_ranks_that_run_on_without_a_driver_are_named(study: Study) -> None:
    attempt = attempt_of(study, "a001")
    with Ledger.open(study.home / NAME) as ledger:
        ledger.record_intent(attempt)
    folder = study.folder_of(attempt)
    folder.mkdir(parents=True)
    write_processes(folder, {0: (os.getpid(), start_time(os.getpid()) or 0)})
    found = look("leftovers", study)
    assert any(f"processes {os.getpid()} still run, without a controller" in finding.says for finding in found)
    with acquire(study.home):
        assert not any("without a driver" in finding.says for finding in look("leftovers", study))


def test_the_store_is_tried_and_nothing_stays_of_it(study: Study) -> None:
    study.home.mkdir(parents=True)
    assert levels(look("store", study)) == {"ok"}
    assert list(study.home.iterdir()) == []


def test_a_store_where_nothing_can_be_made_is_bad(study: Study) -> None:
    (found,) = look("store", dataclasses.replace(study, home=Path("/proc/nowhere")))
    assert found.level == "bad"
    assert found.says.startswith("/proc: ")
    assert "ECHO_MATRIX_HOME" in found.remedy


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    """An address, and the paths that were asked there.

    `/refuse…` is answered with 401, `/gateway…` with 502, `/login…` with a page, everything else with a JSON object.
    """
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(f"{self.path} {self.headers.get('Authorization', '')}".strip())
            first = self.path.split("/")[1]
            self.send_response({"refuse": 401, "gateway": 502}.get(first, 200))
            self.end_headers()
            self.wfile.write(b"\n<!DOCTYPE html><title>Sign in</title>" if first == "login" else b"{}")

        def log_message(self, *_: object) -> None:
            pass

    http = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{http.server_port}", asked
    http.shutdown()
    thread.join()
    http.server_close()


def test_a_tracker_that_answers_is_well_and_one_that_does_not_is_bad(
    study: Study, server: tuple[str, list[str]]
) -> None:
    url, asked = server
    assert levels(look("tracker", study, cluster_with(tracking=TrackingSettings(kind="mlflow", uri=url)))) == {"ok"}
    assert asked == ["/api/2.0/mlflow/experiments/search?max_results=1"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://user:{SECRET}@127.0.0.1:{free.getsockname()[1]}"
    (found,) = look("tracker", study, cluster_with(tracking=TrackingSettings(kind="mlflow", uri=nobody)))
    assert found.level == "bad"
    assert SECRET not in found.says + found.remedy


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/login", "a web page does (200): a login page, or another server"),
        ("/gateway", "the server in front of it says 502"),
        ("/refuse", "refuses the credentials (401)"),
    ],
)
def test_what_stands_in_front_of_a_tracker_is_not_the_tracker(
    study: Study, server: tuple[str, list[str]], path: str, words: str
) -> None:
    uri = server[0] + path
    (found,) = look("tracker", study, cluster_with(tracking=TrackingSettings(kind="mlflow", uri=uri)))
    assert found.level == "bad" and words in found.says
    assert "MLFLOW_TRACKING_TOKEN" in found.remedy


def test_a_tracker_is_asked_with_the_credentials_that_mlflow_sends(study: Study, server: tuple[str, list[str]]) -> None:
    url, asked = server
    named = url.replace("http://", f"http://someone:{SECRET}@")
    tracking = {uri: cluster_with(tracking=TrackingSettings(kind="mlflow", uri=uri)) for uri in (url, named)}
    found = [
        *look("tracker", study, tracking[url], MLFLOW_TRACKING_TOKEN="t0ken"),
        *look("tracker", study, tracking[url], MLFLOW_TRACKING_USERNAME="someone", MLFLOW_TRACKING_PASSWORD=SECRET),
        *look("tracker", study, tracking[named]),
    ]
    basic = "Basic " + base64.b64encode(f"someone:{SECRET}".encode()).decode()
    assert [line.split(" ", 1)[1] for line in asked] == ["Bearer t0ken", basic, basic]
    assert SECRET not in "".join(finding.says for finding in found) and levels(found) == {"ok"}


def test_a_database_of_mlflow_that_cannot_be_used_is_told(study: Study) -> None:
    study.home.mkdir(parents=True)
    path = study.home / "mlflow.db"
    path.write_bytes(b"not a database" * 1000)
    (found,) = look("tracker", study)
    assert (found.level, found.says) == ("warning", f"{path} is damaged")
    path.unlink()
    (found,) = look("tracker", study)
    assert found.level == "ok" and "rollback journal" not in found.says
    with without_shared_maps():
        (found,) = look("tracker", study)
    assert found.level == "ok" and "with a rollback journal: SQLite's write-ahead log does not work" in found.says
    assert list(study.home.iterdir()) == []


@contextmanager
def without_shared_maps() -> Iterator[None]:
    """As on a file system without them: SQLite cannot make their file of 32 KiB."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_the_judge_is_asked_with_its_key_which_is_never_shown(
    server: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, root: Path
) -> None:
    url, asked = server
    monkeypatch.setenv("ECHO_MATRIX_HOME", str(tmp_path))
    judged = ("controls.judge.name=vlm", "controls.judge.models=[some-model]")
    study = open_study(root / "matrix.yaml", overrides=judged)
    assert levels(look("workload", study)) == {"bad"}
    found = look("workload", study, ECHO_MATRIX_JUDGE_URL=f"{url}/v1", ECHO_MATRIX_JUDGE_KEY=SECRET)
    assert levels(found) == {"ok"}
    assert asked == [f"/v1/models Bearer {SECRET}"]
    refused = look("workload", study, ECHO_MATRIX_JUDGE_URL=f"{url}/refuse", ECHO_MATRIX_JUDGE_KEY=SECRET)
    assert "refuses the credentials (401)" in refused[0].says
    assert SECRET not in "".join(finding.says + finding.remedy for finding in found + refused)


def test_a_standing_ray_is_reached_or_not(study: Study, server: tuple[str, list[str]]) -> None:
    address = server[0].removeprefix("http://")
    standing = RaySettings(address=address)
    assert levels(look("ray", study, cluster_with(sections={"ray": standing}))) == {"ok"}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (found,) = look("ray", study, cluster_with(sections={"ray": RaySettings(address=f"127.0.0.1:{port}")}))
    assert found.says == f"ray.address is '127.0.0.1:{port}': nothing answers there (Connection refused)"


def test_slurm_is_looked_at_where_it_is_used(study: Study, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert [finding.says for finding in look("slurm", study)] == [
        "not used: the jobs run on this machine (backend ray); `doctor --backend slurm` checks it"
    ]
    monkeypatch.setenv("PATH", str(tmp_path))
    shared, missing = look("slurm", study, cluster_with(backend="slurm"))
    assert shared.level in ("ok", "warning")
    assert f"{study.home} is on " in shared.says
    assert missing == bad(
        "not on PATH: sbatch, srun, squeue, scancel, scontrol",
        "log in to a machine of the cluster, or load its module (such as `module load slurm`)",
    )


def test_that_there_is_no_cluster_file_is_said_unless_the_command_line_says_where_jobs_go(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "matrix.yaml").write_bytes((root / "matrix.yaml").read_bytes())
    said = [
        [one.says for one in look("slurm", study, study.cluster) if "is not there: jobs go where the site" in one.says]
        for settings in ((), ("slurm.every.partition=gpu",))
        for study in [open_study(tmp_path / "matrix.yaml", cluster=Path("slurm"), settings=settings)]
    ]
    assert list(map(len, said)) == [1, 0]


@pytest.mark.parametrize(
    ("changes", "missing", "words"),
    [
        ({}, ("sacct",), "not on PATH: sacct: endings are less exact"),
        ({"has_accounting": False}, (), "SLURM keeps no accounting (AccountingStorageType is none): endings"),
        (
            {"silent": "sacctmgr failed"},
            (),
            "the accounting does not answer (sacctmgr failed): its limits",
        ),
    ],
)
def test_an_accounting_that_is_not_there_is_a_warning(
    changes: dict[str, object], missing: tuple[str, ...], words: str
) -> None:
    site = dataclasses.replace(Site(array_size=1000, submit=math.inf, partitions={}), **changes)  # type: ignore[arg-type]
    (found,) = accounting(site, missing)
    assert (found.level, found.says[: len(words)]) == ("warning", words)


def test_a_site_that_does_not_signal_preempted_jobs_is_a_warning() -> None:
    site = Site(array_size=1000, submit=math.inf, partitions={})
    assert list(signals(site)) == []
    (found,) = signals(dataclasses.replace(site, signals_preempted=False))
    assert found.level == "warning"
    assert found.says.startswith("preempt_send_user_signal is not among SLURM's SlurmctldParameters")


def test_the_file_system_of_a_path_is_that_of_the_deepest_mount(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "/dev/a / ext4 rw 0 0\nserver:/x /data nfs4 rw 0 0\n/dev/b /data/with\\040space xfs rw 0 0\n", encoding="utf-8"
    )
    assert file_system(Path("/data/study/mlflow.db"), mounts) == "nfs4"
    assert file_system(Path("/data/with space/mlflow.db"), mounts) == "xfs"
    assert file_system(Path("/database/mlflow.db"), mounts) == "ext4"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (f"https://user:{SECRET}@host:8443/path?token={SECRET}#{SECRET}", "https://host:8443/path"),
        ("http://host", "http://host"),
        ("http://[::1", "an invalid URL"),
    ],
)
def test_an_address_is_shown_without_what_may_be_secret(url: str, words: str) -> None:
    assert public_url(url) == words


def test_a_check_that_cannot_look_stops_no_other(study: Study) -> None:
    def falls(_subject: Subject) -> Iterator[CheckResult]:
        raise PermissionError(13, "Permission denied", "/some/place")

    checks = {"first": falls, "second": lambda _subject: [ok("fine")]}
    found = examine(Subject(study=study, environment={}), checks)
    assert [(name, finding.level, finding.says) for name, finding in found] == [
        ("first", "bad", "/some/place: Permission denied"),
        ("second", "ok", "fine"),
    ]


def test_the_table_has_a_remedy_on_a_line_of_its_own() -> None:
    found = [("store", ok("fine")), ("disk", warning("nearly full", "free some")), ("ray", bad("gone", "start it"))]
    assert findings_text(found).splitlines() == [
        "store  ok       fine",
        "disk   warning  nearly full",
        "                -> free some",
        "ray    bad      gone",
        "                -> start it",
        "",
        "1 problem, 1 warning",
    ]
    assert findings_json(found)["worst"] == "bad"


def test_doctor_ends_with_0_or_1_and_prints_one_object(rehearsal: Rehearsal) -> None:
    well = rehearsal.call("doctor", "--json")
    answer = json.loads(well.stdout)
    assert (well.returncode, answer["worst"] in ("ok", "warning")) == (0, True)
    assert {check["check"] for check in answer["checks"]} == set(all_checks())
    cluster = rehearsal.folder / "fake.yaml"
    cluster.write_text(cluster.read_text(encoding="utf-8").replace("paths: {}", "paths: {pool: /no/such}"), "utf-8")
    ill = rehearsal.call("doctor")
    assert ill.returncode == 1
    assert "paths.pool: /no/such does not exist" in ill.stdout


def test_doctor_imports_neither_ray_nor_mlflow_nor_torch(root: Path) -> None:
    code = "import sys, orchestrator.commands.doctor.checks; print(*sorted({n.partition('.')[0] for n in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert not {"ray", "mlflow", "torch", "scipy", "boto3"} & set(done.stdout.split())
