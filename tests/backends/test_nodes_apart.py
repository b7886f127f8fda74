"""Nodes of a Ray cluster that share no folder with the driver or with each other: code, logs and endings travel.

The two raylets are on one machine, with homes and scratch folders of their own. A guard hides the rest of it from them,
or, as root, namespaces do.
"""

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from guard_of_paths import write_guard
from leftovers import Marked
from s3_servers import Service, credentials, moto
from standing import Standing, end
from toy_jobs import as_submission, toy_context, toy_submission, wait_until
from two_rank_training import ON_ONE, ended_well, published, start, trainings

from orchestrator.backends.protocol import Adoption, Placement, Report, Submission
from orchestrator.backends.ray.client import RayBackend
from orchestrator.backends.ray.settings import RaySettings
from orchestrator.errors import SiteError
from orchestrator.host.children import python_command
from orchestrator.store.protocol import StoredCheckpoint
from orchestrator.store.registry import make_store

CHECKOUT = Path(__file__).parents[2]
ECHO_MATRIX = str(Path(sys.executable).with_name("echo-matrix"))
SERVER = tuple(python_command("workloads.runtime.server", "toy_workload"))
NAMES = ("one", "two")
GUARDED, HIDDEN = "guarded", "in namespaces"


class Nodes:
    """A head without processors, and two nodes that see nothing of the driver's.

    Args:
        folder: for all of it.
        service: a store.
        really: in namespaces, each with a host name and a view of the disk of its own; else under a guard.
    """

    def __init__(self, folder: Path, service: Service, *, really: bool) -> None:
        self.folder, self.service, self.really = folder, service, really
        self.driver = folder / "driver"
        self.driver.mkdir()
        self.cluster = Standing(cpus=0)
        self.tried = {name: self._guard(name) for name in NAMES}
        self.marks = {name: self._add(name) for name in NAMES}

    def _unseen(self, name: str) -> list[Path]:
        others = [self.folder / other for other in NAMES if other != name]
        return [self.driver, CHECKOUT / "orchestrator", CHECKOUT / "workloads", *others]

    def _guard(self, name: str) -> Path:
        return write_guard(self.folder / f"guard-{name}", () if self.really else self._unseen(name))

    def _add(self, name: str) -> Marked:
        own = self.folder / name
        for place in NAMES:
            for folder in ("home", "scratch"):
                (self.folder / place / folder).mkdir(parents=True, exist_ok=True)
        hidden = [*self._unseen(name), self.cluster.folder]
        words = "; ".join([f"hostname {name}", *(f"mount -t tmpfs none '{path}'" for path in hidden), 'exec "$0" "$@"'])
        return self.cluster.add_node(
            1,
            inside=("unshare", "--mount", "--uts", "sh", "-e", "-c", words) if self.really else (),
            HOME=str(own / "home"),
            XDG_CACHE_HOME=str(own / "cache"),
            ECHO_MATRIX_SCRATCH=str(own / "scratch"),
            PYTHONPATH=os.pathsep.join([str(self.folder / f"guard-{name}"), str(CHECKOUT / "tests" / "host")]),
        )

    def scratch(self, name: str) -> Path:
        return self.folder / name / "scratch" / f"echo-matrix-{os.getuid()}"

    def close(self) -> None:
        for mark in self.marks.values():
            end(mark)
        self.cluster.close()


HIDDEN_IN_LONG = pytest.mark.parametrize(
    "nodes", [GUARDED, pytest.param(HIDDEN, marks=pytest.mark.long)], indirect=True
)
"""One test is made with other file systems in every run as root; the others would take minutes more."""


@pytest.fixture(scope="module", params=[GUARDED, pytest.param(HIDDEN, marks=pytest.mark.root)])
def nodes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    folder = tmp_path_factory.mktemp("apart")
    (folder / "moto").mkdir()
    before = os.environ.get("RAY_AUTH_MODE")
    os.environ["RAY_AUTH_MODE"] = "disabled"
    with moto(folder / "moto") as service, credentials():
        made = Nodes(folder, service, really=request.param != GUARDED)
        yield made
        made.close()
    os.environ.pop("RAY_AUTH_MODE")
    if before is not None:
        os.environ["RAY_AUTH_MODE"] = before


def until(backend: RayBackend, submission: Submission, phase: str) -> Report:
    wait_until(lambda: backend.poll()[submission.attempt].phase == phase, f"{submission.attempt} is {phase}", 120)
    return backend.poll()[submission.attempt]


def begin(raw: dict[str, Any], host: str) -> Submission:
    """A submission, with the attempt's folder as a driver makes it."""
    submission = as_submission(raw, host)
    Path(submission.request["work"]).mkdir(parents=True)
    return submission


def test_a_whole_study_runs_and_is_read_as_on_a_shared_folder(nodes: Nodes) -> None:
    study = nodes.driver / "mine"
    environment = {**os.environ, "ECHO_MATRIX_HOME": str(nodes.driver / "outputs")}

    def call(*words: str, folder: Path = study) -> str:
        done = subprocess.run([ECHO_MATRIX, *words], cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    call("init", "mine", "--workload", "mystudy.workload", folder=nodes.driver)
    place = nodes.service.location(nodes.driver, "studies")
    (study / "cluster" / "ray.yaml").write_text(
        f"backend: ray\nray: {{address: '{nodes.cluster.address}'}}\n"
        f"store: {{kind: s3, url: '{place.url}', endpoint: '{place.endpoint}', region: {place.region}}}\n"
        "tracking: {kind: none}\nidle_s: 1.0\n",
        encoding="utf-8",
    )
    chosen = ("--cluster", "cluster/ray.yaml", "seeds=[0, 1]")
    said = call("run", *chosen)
    assert "8 done" in said
    assert "nothing to do" in call("run", *chosen)
    attempts = list((nodes.driver / "outputs" / "mystudy" / "attempts").glob("*/*"))
    assert len(attempts) == 8
    for folder in attempts:
        assert json.loads((folder / "ended.json").read_text(encoding="utf-8"))["ending"] == "ok"
        assert {"log.txt", "process.json", "result.json", "request.json"} <= {path.name for path in folder.iterdir()}
    assert ", attempt a001-" in call("logs", "estimate/normal/mean/s0", "--cluster", "cluster/ray.yaml")
    used = [name for name in NAMES if list((nodes.scratch(name) / "code").glob("*"))]
    assert used == list(NAMES)
    assert not [nodes.tried[name].read_text() for name in NAMES if nodes.tried[name].exists()]


@HIDDEN_IN_LONG
def test_where_results_are_in_the_folder_that_no_node_sees_one_sentence_says_what_to_do(nodes: Nodes) -> None:
    home = nodes.driver / "files"
    home.mkdir()
    backend = RayBackend(toy_context(home, server=SERVER), RaySettings(address=nodes.cluster.address))
    with pytest.raises(SiteError) as refused:
        backend.hosts()
    backend.close()
    assert re.fullmatch(
        r"the host on \S+ does not start: \S+ does not see the study's folder: \S+: No such file or directory; with "
        r"store\.kind: files all nodes need it: put ECHO_MATRIX_HOME on a file system that they share, or the results "
        r"on S3 \(store: .*\), which needs no shared folder \(docs/how-to/ray-cluster\.md\)",
        str(refused.value),
    )


@HIDDEN_IN_LONG
def test_what_ended_without_a_driver_is_fetched_by_the_next_though_its_host_was_killed(nodes: Nodes) -> None:
    home = nodes.driver / "later"
    home.mkdir()
    context = toy_context(home, store=nodes.service.location(nodes.driver, "later"), server=SERVER, idle_s=5.0)
    first = RayBackend(context, RaySettings(address=nodes.cluster.address))
    wait_until(first.hosts, "a node has a host", 120)
    submission = begin(toy_submission(home, "refuse"), first.hosts()[0].name)
    (ticket,) = first.submit([submission]).values()
    first.close()
    work = Path(submission.request["work"])
    ended = f"studies/*/attempts/*/{work.name}/ended.json"
    wait_until(lambda: any(list(nodes.scratch(name).glob(ended)) for name in NAMES), "it ends on its node")
    assert not (work / "ended.json").exists()
    for mark in nodes.marks.values():
        for host in mark.processes("ray::Host"):
            host.signal(signal.SIGKILL)
    successor = RayBackend(context, RaySettings(address=nodes.cluster.address))
    try:
        successor.hosts()
        successor.adopt([Adoption.of(submission, ticket)])
        report = until(successor, submission, "ended")
        assert report.ending == "bad_input" and "config.data.do" in report.detail
        assert "config.data.do is 'refuse'" in (work / "log.txt").read_text(encoding="utf-8")
    finally:
        successor.close()


@HIDDEN_IN_LONG
def test_a_job_on_both_nodes_is_saved_on_one_and_both_go_on_from_it(nodes: Nodes) -> None:
    home = nodes.driver / "gang"
    home.mkdir()
    for tried in nodes.tried.values():  # by hosts that were to see the driver's folder
        tried.unlink(missing_ok=True)
    context = toy_context(home, store=nodes.service.location(nodes.driver, "gang"), server=SERVER, idle_s=2.0)
    backend = RayBackend(context, RaySettings(address=nodes.cluster.address))
    store = make_store(context.store)
    assert store.checkpoints is not None
    found = store.checkpoints
    try:
        wait_until(lambda: len(backend.hosts()) == 2, "both nodes have a host", 120)
        assert len({host.group for host in backend.hosts()}) == 1
        parts = [Placement(host=host.name, cpus=1, devices=()) for host in backend.hosts()]
        raw = toy_submission(home, "count together until asked", ranks=2)
        first = Path(raw["request"]["work"])
        for number in (1, 2):
            work = first if number == 1 else first.with_name("a002")
            raw = {**raw, "attempt": work.name, "request": {**raw["request"], "attempt": work.name, "work": str(work)}}
            placed = dataclasses.replace(parts[0], others=tuple(parts[1:]))
            submission = dataclasses.replace(begin(raw, parts[0].host), placement=placed)
            backend.submit([submission])
            fingerprint = submission.request["fingerprint"]
            saved = [StoredCheckpoint(fingerprint=fingerprint, attempt=work.name, step=number)]
            wait_until(lambda: list(found.complete(fingerprint)[:1]) == saved, "it is stored", 60)  # noqa: B023
            backend.stop([submission.attempt])
            assert until(backend, submission, "ended").ending == "interrupted"
            for rank, log in enumerate(("log.txt", "log-n1.txt")):
                assert f"rank {rank} goes on from {number - 1}" in (work / log).read_text(encoding="utf-8")
            assert {"ended.json", "ended-n1.json"} <= {path.name for path in work.iterdir()}
    finally:
        backend.close()
    assert not [nodes.tried[name].read_text() for name in NAMES if nodes.tried[name].exists()]


@HIDDEN_IN_LONG
def test_a_node_that_dies_leaves_its_log_here_and_its_checkpoint_to_the_other(nodes: Nodes) -> None:
    home = nodes.driver / "toy"
    home.mkdir()
    context = toy_context(home, store=nodes.service.location(nodes.driver, "toy"), server=SERVER)
    backend = RayBackend(context, RaySettings(address=nodes.cluster.address))
    try:
        wait_until(lambda: len(backend.hosts()) == 2, "both nodes have a host", 120)
        first, second = (host.name for host in backend.hosts())
        raw = toy_submission(home, "count")
        raw["request"]["config"]["data"]["pause_s"] = 3.0
        submission = begin(raw, first)
        backend.submit([submission])
        work = Path(submission.request["work"])
        store = make_store(context.store)
        assert store.checkpoints is not None
        found = store.checkpoints
        fingerprint = submission.request["fingerprint"]
        wait_until(lambda: found.complete(fingerprint), "a checkpoint is in the store", 60)
        until(backend, submission, "running")
        arrive = [work / "log.txt", work / "metrics.jsonl", work / "process.json"]
        wait_until(lambda: backend.poll() and all(path.exists() for path in arrive), "files arrive")
        (died,) = [name for name in NAMES if list(nodes.scratch(name).glob(f"studies/*/attempts/*/{work.name}"))]
        end(nodes.marks[died])
        assert until(backend, submission, "ended").ending == "node_lost"
        again = {**raw, "attempt": "a102", "request": {**raw["request"], "attempt": "a102"}}
        again["request"]["work"] = str(work.with_name("a102"))
        successor = begin(again, second)
        backend.submit([successor])
        assert until(backend, successor, "ended").ending == "ok"
        artifact = store.fetch(fingerprint)
        said, _, begun = (artifact / "count.txt").read_text().partition(" from ")
        assert said == "8" and int(begun) > 0, "it went on where the other node was"
        assert "from" in (work.with_name("a102") / "log.txt").read_text()
        needed = f"*/scratch/*/studies/*/attempts/*/{successor.attempt}"
        wait_until(lambda: not list(nodes.folder.glob(needed)), "what nobody needs is removed")
    finally:
        backend.close()


@pytest.mark.long
@pytest.mark.parametrize("nodes", [GUARDED], indirect=True)
def test_a_training_on_both_nodes_of_which_one_is_killed_has_the_bits_of_two_ranks_on_one_node(
    nodes: Nodes, tmp_path: Path
) -> None:
    place = nodes.service.location(nodes.driver, "trainings")
    bucket = f"{{kind: s3, url: '{place.url}', endpoint: '{place.endpoint}', region: {place.region}}}"
    site = f"backend: ray\nray: {{address: '{nodes.cluster.address}'}}\n"
    how: dict[str, Any] = {"row": "context-k5", "zero_stage": 2}
    one, two = tmp_path / "one", nodes.driver / "trained"
    run = start(two, site, "resources.train.nodes=2", store=bucket, **how)
    store = make_store(dataclasses.replace(place, url=f"{place.url}/echo-memory"))
    assert store.checkpoints is not None
    found = store.checkpoints
    wait_until(lambda: run.poll() is not None or found.sizes(), "a checkpoint of the training is stored", 500.0)
    assert run.poll() is None, run.communicate()[0]
    (killed,) = [name for name in NAMES if list(nodes.scratch(name).glob("studies/*/attempts/*/*/log-n1.txt"))]
    end(nodes.marks.pop(killed))
    nodes.marks[killed] = nodes._add(killed)
    ended_well(run, 500.0)
    ended_well(start(one, ON_ONE, **how), 500.0)
    assert published(two, store) == published(one) and len(published(one)) == 5
    (first, second) = trainings(two)
    assert (first.ending, second.ending, len(second.placement.hosts)) == ("node_lost", "ok", 2) and second.begun > 0
    assert first.failed_on == first.placement.hosts[1]
    assert not [nodes.tried[name].read_text() for name in NAMES if nodes.tried[name].exists()]


@pytest.mark.long
@pytest.mark.parametrize("nodes", [GUARDED if os.geteuid() else HIDDEN], indirect=True, ids=["two nodes"])
def test_a_part_of_the_laptop_profile_gives_the_results_of_a_shared_folder(nodes: Nodes, tmp_path: Path) -> None:
    """`ECHO_MATRIX_TEST_ROWS` chooses the rows; `*` is the whole profile."""
    rows = os.environ.get("ECHO_MATRIX_TEST_ROWS", "context-k1,context-k5")
    place = nodes.service.location(nodes.driver, "laptop")
    cluster = nodes.driver / "laptop.yaml"
    cluster.write_text(
        f"backend: ray\nray: {{address: '{nodes.cluster.address}'}}\n"
        f"store: {{kind: s3, url: '{place.url}', endpoint: '{place.endpoint}', region: {place.region}}}\n"
        "tracking: {kind: none}\n",
        encoding="utf-8",
    )
    tables = {}
    for name, chosen in (("apart", ("--cluster", str(cluster))), ("here", ("--set", "tracking.kind=none"))):
        home = nodes.driver / name
        command = [ECHO_MATRIX, "run", "--matrix", str(CHECKOUT / "matrix.yaml"), "--rows", rows, *chosen]
        done = subprocess.run(
            command, env={**os.environ, "ECHO_MATRIX_HOME": str(home)}, capture_output=True, text=True, cwd=tmp_path
        )
        assert done.returncode == 0, done.stdout + done.stderr
        tables[name] = (home / "echo-memory" / "report" / "results.csv").read_bytes()
    assert tables["apart"] == tables["here"]
    assert not [nodes.tried[name].read_text() for name in NAMES if nodes.tried[name].exists()]
