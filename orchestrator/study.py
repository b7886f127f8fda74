"""Study: one profile of matrix.yaml, planned, with the folders of its state.

Having one writes nothing and imports no large library, so that `plan`, `status` and a `run` with nothing to do are fast
(`opening.py` makes them).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.backends.registry import backend_plugin
from orchestrator.errors import ArtifactMissing, PlanError, StoreError
from orchestrator.host.checkpoints import attempt_folder
from orchestrator.host.environment import JobVariables
from orchestrator.plan.continued import shorter_jobs, work_left
from orchestrator.plan.diff import standings as standings_of
from orchestrator.plan.durations import Duration
from orchestrator.plan.forecast import AHEAD, Forecast, Forecaster, LiveTime
from orchestrator.plan.growth import NONE, FinishedItems, Growth, counts_of
from orchestrator.plan.growth_show import StageGrowth, stage_growth
from orchestrator.plan.job import Job, Plan, Standing
from orchestrator.plan.makespan import Capacity
from orchestrator.reporting.race_record import read_race
from orchestrator.reporting.registration.file import Entry, read_registration
from orchestrator.schedule.ledger.database import NAME, Attempt, Ledger
from orchestrator.schedule.retry_policy import paused_of
from orchestrator.spec.cluster import Cluster
from orchestrator.store.location import StoreLocation
from orchestrator.store.older_results import OlderResults, older_results
from orchestrator.store.protocol import Commit, Store
from orchestrator.store.registry import make_store
from orchestrator.store.removed import without_videos
from workloads.contract.planned import Estimate

if TYPE_CHECKING:
    from reports.input import Race


@dataclass(frozen=True, kw_only=True)
class Study:
    """A planned study and its state."""

    matrix: Path
    plan: Plan
    cluster: Cluster
    home: Path
    """`outputs/{study}`: store, ledger, attempts, report, MLflow."""
    cluster_file: Path = Path("cluster") / "local.yaml"
    """File of `cluster`; it does not exist if the settings are the built-in ones."""
    notice: str = ""
    """For the user: this is not what matrix.yaml says now, or the last run used another store; or empty."""

    @cached_property
    def store(self) -> Store:
        """The artifact store."""
        return make_store(self.store_location)

    def changed(self, **fields: Any) -> "Study":
        """The study with other fields that say nothing of its store, which stays open with what it has listed."""
        other = replace(self, **fields)
        if "store" in vars(self):
            vars(other)["store"] = self.store
        return other

    @property
    def store_location(self) -> StoreLocation:
        """Where the artifact store is."""
        settings = self.cluster.store
        return StoreLocation(
            kind=settings.kind,
            folder=str((self.home / "store").resolve()),
            url=f"{settings.url.rstrip('/')}/{self.home.name}" if settings.url is not None else "",
            endpoint=settings.endpoint or "",
            region=settings.region or "",
            cache=settings.cache or "",
            cache_gib=settings.cache_gib,
        )

    @property
    def job_variables(self) -> JobVariables:
        """What jobs get of the environment, beyond what every child process gets."""
        stages = {stage.name: stage.environment for stage in self.plan.workload.stages if stage.environment}
        return JobVariables(every=self.cluster.environment.jobs, stages=stages)

    @property
    def publishes_results(self) -> bool:
        """Whether its results have a meaning: not those of a smoke run, or of a backend that only pretends."""
        smoke = any(job.smoke for job in self.plan.jobs.values())
        return not smoke and backend_plugin(self.cluster.backend).publishes_results

    @property
    def report_folder(self) -> Path:
        """Folder of the newest report."""
        return self.home / "report"

    @property
    def registered(self) -> Sequence[Entry]:
        """What was registered of the plan (`register`), oldest first; empty: nothing.

        Raises:
            PlanError: it was edited.
        """
        return read_registration(self.home, self.plan.profile)

    @property
    def race(self) -> "Race | None":
        """How far the race of its rows was at its last look; None: they did not race."""
        return read_race(self.home, self.plan)

    def standings(self, without: frozenset[str] = frozenset(), within_s: float = 0.0) -> Mapping[str, Standing]:
        """The current state of every job, from commit records and the ledger.

        Commit records and history of the fingerprints in `without` are ignored; `within_s` as for `Store.commits`.
        """
        commits = self.store.commits(within_s) - without
        again = self.made_again(commits)
        commits -= again
        with Ledger.read(self.home / NAME) as ledger:
            return standings_of(
                self.plan,
                commits,
                {name: past for name, past in ledger.history().items() if name not in without},
                ledger.previous_documents(),
                paused=paused_of(
                    ledger.job_records().values(),
                    {job.fingerprint for job in self.plan.jobs.values()},
                    self.cluster.pause_after,
                ),
                growth=self.growth(commits),
                keeps_states=self.cluster.keep_stable,
                removed=again,
            )

    def made_again(self, commits: frozenset[str], selected: Collection[str] | None = None) -> frozenset[str]:
        """Fingerprints of finished jobs whose videos `gc` has removed and a job of the plan needs that is not done.

        Args:
            commits: of the finished jobs.
            selected: ids of the jobs that are to be done; None: all of the plan.
        """
        jobs = self.plan.jobs
        chosen = jobs.values() if selected is None else [jobs[job_id] for job_id in selected]
        open_ = [job for job in chosen if job.fingerprint not in commits]
        read = {
            jobs[need].fingerprint: job for job in open_ for need in job.inputs.values() if jobs[need].spec.kept_videos
        }
        if not commits.intersection(read):
            return frozenset()
        removed = self._removed(commits)
        grown = self.growth(commits) if removed.intersection(read) else {}
        return frozenset(one for one, job in read.items() if one in removed and not grown.get(job.id, NONE).within)

    def _removed(self, commits: frozenset[str]) -> frozenset[str]:
        """Fingerprints of the finished jobs whose videos `gc` has removed."""
        return without_videos(self.store.removed(), commits, self._record)

    def growth(self, commits: frozenset[str] | None = None) -> Mapping[str, Growth]:
        """What finished jobs have of the items of each job that is not done, by job id.

        `commits`: of the finished jobs; None: of those that `standings` has found last.
        """
        commits = self._commits if commits is None else commits
        if not self._grown or self._grown[-1][0] != commits:
            open_ = [job for job in self.plan.jobs.values() if job.items is not None and job.fingerprint not in commits]
            finished = FinishedItems(commits if open_ else (), self._record, cache(partial(self._removed, commits)))
            self._grown[:] = [(commits, {job.id: finished.growth(job) for job in open_})]
        return self._grown[-1][1]

    @property
    def _commits(self) -> frozenset[str]:
        """Those that `standings` has found last."""
        return self._grown[-1][0] if self._grown else self.store.commits()

    @cached_property
    def _grown(self) -> list[tuple[frozenset[str], Mapping[str, Growth]]]:
        """The newest answer of `growth`, and what it is of."""
        return []

    @cached_property
    def _records(self) -> dict[str, Commit]:
        """Commit records that were read: none ever changes."""
        return {}

    def _record(self, fingerprint: str) -> Commit | None:
        if fingerprint not in self._records:
            try:
                self._records[fingerprint] = self.store.read(fingerprint)
            except StoreError:
                return None
        return self._records[fingerprint]

    def result_of(self, job: Job) -> Path:
        """The folder of a job's result.

        Raises:
            ArtifactMissing: it is not done, and why; or its files are gone.
            StoreError: its files are damaged.
        """
        if job.fingerprint not in self.store.commits():
            now = self.standings()[job.id]
            state = now.state if not now.reason else f"{now.state}: {now.reason}"
            raise ArtifactMissing(f"{job.label} is not done ({state}), so it has no result; `run` makes it")
        return self.store.fetch(job.fingerprint)

    def check_feasible(self, estimate: Estimate | None, selected: Collection[str] | None = None) -> None:
        """Refuse a plan that cannot succeed according to its workload.

        Raises:
            PlanError: with the reason.
        """
        why = (estimate.refusal if estimate else "") or self.plan.workload.refuse_plan(self.plan, selected)
        if why:
            raise PlanError(why)

    def durations(self) -> list[Duration]:
        """How long the jobs took that ended well, of all plans of this study."""
        with Ledger.read(self.home / NAME) as ledger:
            return ledger.durations()

    def tracked_runs(self) -> Mapping[str, str]:
        """Cell id -> http address of its run, where a server shows the study; it is asked, and need not answer."""
        tracking = self.cluster.tracking
        if tracking.kind != "mlflow" or tracking.uri is None:
            return {}
        from orchestrator.tracking.mlflow.pages import runs_of

        return runs_of(self.plan, self.home, tracking.uri)

    def forecast(self, standings: Mapping[str, Standing], live: Mapping[str, LiveTime] | None = None) -> Forecast:
        """How long those of some jobs will take that are to be run or run now, and what they cost.

        Args:
            standings: job id -> state, of the jobs in question.
            live: job id -> time of its live attempt.
        """
        ahead = {job_id for job_id, now in standings.items() if now.state in AHEAD}
        return self.forecaster(measured=bool(ahead)).forecast(ahead, self.capacity, live)

    def older_results(self) -> OlderResults | None:
        """Results of an older version, in a store that has none of this plan; None: there are none."""
        own = frozenset(job.fingerprint for job in self.plan.jobs.values())
        return older_results(self._commits, own, self._record)

    def added_disk(self, standings: Mapping[str, Standing]) -> Mapping[str, int]:
        """What -> bytes that jobs which are not done will add to the disk or bucket; {}: nothing, or not known.

        `standings`: of the jobs in question, as `standings` has found them.
        """
        growth, linked = self.growth(), self.store_location.kind == "files"
        made: dict[str, float] = {}
        for job_id, now in standings.items():
            if now.state != "done":
                counts = counts_of(self.plan.jobs[job_id], growth.get(job_id), done=False)
                made[job_id] = counts.missing_share if counts is not None and linked else 1.0
        return self.plan.workload.added_disk(self.plan, made, keep_stable=self.cluster.keep_stable) if made else {}

    def stage_growth(self, standings: Mapping[str, Standing]) -> list[StageGrowth]:
        """What jobs reuse and make, by stage; `standings`: of the jobs in question, as `standings` has found them."""
        ahead = any(now.state != "done" for now in standings.values())
        return stage_growth(self.plan.jobs, standings, self.growth(), self.forecaster(measured=ahead))

    def forecaster(self, *, measured: bool = True, anew: bool = False) -> Forecaster:
        """What estimates the durations of jobs, of what is left of them.

        Args:
            measured: from durations of the ledger, too.
            anew: as if nothing were done.
        """
        durations = self.durations() if measured else ()
        done = frozenset[str]() if anew else self._commits
        grown = {} if anew else self.growth()
        open_ = (job for job in self.plan.jobs.values() if job.fingerprint not in done)
        shorter = shorter_jobs(open_ if self.cluster.keep_stable else ())
        left = work_left(lambda job: grown.get(job.id, NONE), shorter)
        return Forecaster(self.plan, durations, self.cluster.backend, left)

    @property
    def capacity(self) -> Capacity:
        """What jobs may use at a time; unknown where another scheduler decides."""
        share = backend_plugin(self.cluster.backend).local_share(self.cluster)
        if share is None:
            return Capacity(slots=self.cluster.slots)
        host = share.host()
        return Capacity(cpus=host.cpus, devices=host.devices, slots=self.cluster.slots)

    def attempts(self) -> Mapping[str, Sequence[Attempt]]:
        """All recorded attempts by job fingerprint, oldest first."""
        found: dict[str, list[Attempt]] = {}
        with Ledger.read(self.home / NAME) as ledger:
            for attempt in ledger.attempts():
                found.setdefault(attempt.fingerprint, []).append(attempt)
        return found

    def folder_of(self, attempt: Attempt) -> Path:
        """Folder of an attempt's request, log, heartbeat and metrics."""
        return attempt_folder(self.home, attempt.fingerprint, attempt.id)
