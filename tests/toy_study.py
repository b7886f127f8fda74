"""A hand-made plan, and a study folder with ledger, store and fake backend to run it on."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.backends.fake.backend import Act, FakeBackend, FakeCluster
from orchestrator.backends.protocol import Backend, HostShare
from orchestrator.plan.durations import SHARED, Duration
from orchestrator.plan.job import Job, Plan
from orchestrator.plan.makespan import Capacity
from orchestrator.schedule.budget import Budget
from orchestrator.schedule.clock import SimulatedClock
from orchestrator.schedule.control import channel
from orchestrator.schedule.events import Event, View
from orchestrator.schedule.ledger.database import Ledger
from orchestrator.schedule.ledger.rebuild import rebuilder
from orchestrator.schedule.order import First
from orchestrator.schedule.run import RunResult, run
from orchestrator.spec.cell import Resources
from orchestrator.spec.cluster import EnvironmentSettings, RetrySettings, TrackingSettings
from orchestrator.store.files import FilesStore
from orchestrator.store.protocol import Commit, Store
from workloads.contract.request import DEFAULT_WORKLOAD
from workloads.study.workload import WORKLOAD

ONE_CPU = Resources(cpus=1, devices=0, memory_gib=1.0, minutes=5.0)
TWO_CPUS = (HostShare(name="fake-0", cpus=2, devices=0, memory_gib=64.0),)


CONFIGS: Mapping[str, Mapping[str, Any]] = {
    "data": {"data": {"source": "worlds"}},
    "latents": {"codec": {"kind": "space-to-depth"}},
    "judge": {"judge": {"name": "mask"}},
}


OF_THE_THIRD_VERSION = """
DROP TABLE recorded_runs;
DROP TABLE durations;
CREATE TABLE last_plan (
    only INTEGER PRIMARY KEY CHECK (only = 1), profile TEXT NOT NULL, overrides TEXT NOT NULL, selection TEXT NOT NULL
);
ALTER TABLE attempts DROP COLUMN others;
ALTER TABLE attempts DROP COLUMN failed_on;
PRAGMA user_version = 3;
"""
"""Makes of a ledger one as the third version wrote it."""
OF_THE_FIRST_VERSION = f"""
{OF_THE_THIRD_VERSION}
ALTER TABLE attempts DROP COLUMN cpus;
ALTER TABLE attempts DROP COLUMN devices;
ALTER TABLE attempts RENAME COLUMN host TO backend;
CREATE TABLE sent (cell TEXT);
PRAGMA user_version = 1;
"""


def fingerprint(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def make_job(
    stage: Any, label: str, inputs: Mapping[str, str] | None = None, resources: Resources = ONE_CPU, batch: int = 8
) -> Job:
    digest = fingerprint(label)
    branch = label.split("/")[1] if stage in ("evaluate", "judge") else None
    return Job(
        id=f"{stage}/{branch}/{digest[:12]}" if branch else f"{stage}/{digest[:12]}",
        label=label,
        spec=WORKLOAD.by_name[stage],
        branch=branch,
        fingerprint=digest,
        config={**CONFIGS.get(stage, {}), **({"training": {"global_batch": batch}} if stage == "train" else {})},
        row={"family": "context", "frames": 1} if stage in ("train", "evaluate") else None,
        seed=0 if stage in ("index", "train") else None,
        inputs=dict(inputs or {}),
        resources=resources,
        cells=(),
    )


def make_plan(jobs: Sequence[Job]) -> Plan:
    return Plan(
        study="toy",
        workload_name=DEFAULT_WORKLOAD,
        workload=WORKLOAD,
        profile="laptop",
        overrides=(),
        controls_fingerprint="c" * 64,
        deviations=(),
        tables={},
        cells=(),
        jobs={job.id: job for job in jobs},
        jobs_of={},
    )


def make_duration(**changed: Any) -> Duration:
    """The duration of a job of `data`, shared by all rows: a second on one processor."""
    of_data: dict[str, Any] = {"fingerprint": "", "stage": "data", "branch": "", "row": SHARED, "smoke": False}
    where = {"profile": "laptop", "backend": "", "kind": "", "cpus": 1, "devices": 0}
    return Duration(**{**of_data, **where, "flops": None, "seconds": 1.0, **changed})


def drive(plan: Plan, folder: Path, store: Store, backend: Backend) -> RunResult:
    """Run all jobs of a plan with a real clock and a ledger in `folder`."""
    with Ledger.open(folder / "ledger.sqlite") as ledger:
        return run(
            plan,
            list(plan.jobs),
            home=folder,
            store=store,
            ledger=ledger,
            backend_factory=lambda: backend,
            cluster=Settings(),
        )


def commit_of(job: Job, attempt: str) -> Commit:
    """What an attempt publishes that no driver has started."""
    return Commit(
        fingerprint=job.fingerprint,
        attempt=attempt,
        stage=job.stage,
        branch=job.branch,
        job=job.id,
        label=job.label,
        manifest="",
        inputs={},
        code="",
        git="",
        versions={},
        host_kind="",
        started=0.0,
        ended=1.0,
    )


def small_plan(rows: Sequence[str] = ("a", "b", "c")) -> Plan:
    """Data -> latents, index -> train/ROW -> evaluate/return/ROW."""
    data = make_job("data", "data")
    latents = make_job("latents", "latents", {"data": data.id})
    index = make_job("index", "index", {"data": data.id})
    jobs = [data, latents, index]
    for row in rows:
        train = make_job("train", f"train/{row}", {"latents": latents.id, "index": index.id})
        jobs += [train, make_job("evaluate", f"evaluate/return/{row}", {"train": train.id, "data": data.id})]
    return make_plan(jobs)


@dataclass
class Settings:
    """What cluster/*.yaml says, for the toy study."""

    backend: str = "fake"
    retries: RetrySettings = field(
        default_factory=lambda: RetrySettings(error=1, out_of_memory=1, vanished=3, free_in_a_row=10)
    )
    pause_after: int = 3
    grace_s: float = 20.0
    unknown_s: float = 1800.0
    slots: Mapping[str, int] = field(default_factory=dict)
    avoid_s: float = 3600.0
    on_event: str | None = None
    environment: EnvironmentSettings = field(default_factory=EnvironmentSettings)
    tracking: TrackingSettings = field(default_factory=TrackingSettings)
    checkpoint_every_s: float = 30.0
    deepspeed: Mapping[str, Any] = field(default_factory=dict)
    deterministic: bool = True
    keep: Any = "weights"
    keep_stable: bool = True
    paths: Mapping[str, str] = field(default_factory=dict)


class Toy:
    """A study folder; every `run` is a fresh driver with a fresh fake backend on the same clock."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.clock = SimulatedClock()
        self.store = FilesStore(home / "store")
        self.settings = Settings()
        self.events: list[Event] = []
        self.backend: FakeBackend | None = None
        self.backend_type = FakeBackend
        self.cluster: FakeCluster | None = None
        """Set: the backend outlives drivers."""

    def ledger(self) -> Ledger:
        return Ledger.open(self.home / "ledger.sqlite", rebuild=rebuilder(self.home, self.store))

    def run(
        self,
        plan: Plan,
        script: Mapping[str, Sequence[Act]] | None = None,
        *,
        selected: Sequence[str] | None = None,
        hosts: Sequence[HostShare] = TWO_CPUS,
        observe: Callable[[Event], None] | None = None,
        fence: Callable[[], None] | None = None,
        view: View | None = None,
        capacity: Capacity | None = None,
        budget: Budget | None = None,
        first: First | None = None,
        on_accepted: Callable[[], None] = lambda: None,
        on_settled: Callable[[], None] = lambda: None,
    ) -> RunResult:
        self.backend = None

        def make() -> FakeBackend:
            self.backend = self.backend_type(
                store=self.store, now=self.clock.monotonic, hosts=hosts, script=script, cluster=self.cluster
            )
            return self.backend

        def observer(event: Event) -> None:
            self.events.append(event)
            if observe is not None:
                observe(event)

        path = self.home / "ledger.sqlite"
        with Ledger.open(path, fence, rebuild=rebuilder(self.home, self.store)) as ledger:
            return run(
                plan,
                list(plan.jobs) if selected is None else selected,
                home=self.home,
                store=self.store,
                ledger=ledger,
                backend_factory=make,
                cluster=self.settings,
                clock=self.clock,
                observer=observer,
                view=view,
                capacity=capacity,
                budget=budget,
                first=first,
                on_accepted=on_accepted,
                on_settled=on_settled,
            )

    def note(self, verb: channel.Verb, labels: Sequence[str], *, now: bool = False) -> None:
        """Leave a note about jobs for the next driver, or the one that runs."""
        channel.send(self.home, verb, [fingerprint(label) for label in labels], now=now)

    def submitted(self) -> list[str]:
        """Labels that the last run's backend was given, in order."""
        return [] if self.backend is None else [submission.label for submission in self.backend.submitted]

    def requests(self, label: str) -> list[Mapping[str, Any]]:
        """Requests of the last run's attempts of a job."""
        assert self.backend is not None
        return [submission.request for submission in self.backend.submitted if submission.label == label]

    def endings(self, label: str) -> list[str | None]:
        """How all attempts of a job ended, in order."""
        with Ledger.read(self.home / "ledger.sqlite") as ledger:
            return [attempt.ending for attempt in ledger.attempts(fingerprint(label))]
