"""A backend's plug-in: the one object by which the rest of the program knows it.

A package offers a backend by an entry point of the group `echo_matrix.backends`:

    [project.entry-points."echo_matrix.backends"]
    kubernetes = "my_package.plugin:PLUGIN"

`PLUGIN` is a `BackendPlugin`. It is imported by commands that only plan, so its module imports
nothing heavy: `build`, `preflight` and the checks import what they need when they are called.
`orchestrator.testing.backends` holds the tests that the backend must pass.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from orchestrator.backends.check_result import CheckResult
from orchestrator.backends.protocol import Backend, HostShare
from orchestrator.backends.scripts import PlannedSubmission, ScriptPlan
from orchestrator.host.environment import NOTHING_MORE, JobVariables
from orchestrator.host.machine import VISIBLE, machine_cpus, machine_devices, machine_gib
from orchestrator.host.warm_server import COMMAND
from orchestrator.plan.job import Job
from orchestrator.spec.cell import Resources
from orchestrator.spec.cluster import Cluster, SectionSource
from orchestrator.store.location import StoreLocation


@dataclass(frozen=True, kw_only=True)
class BackendContext:
    """What a driver gives to every backend that it builds."""

    home: Path
    """`outputs/{study}`."""
    store: StoreLocation
    stages: tuple[str, ...] = ()
    """Stages of the plan, in order."""
    resources: Mapping[str, Resources] = field(default_factory=dict)
    """Stage -> what a job of it needs."""
    grace_s: float = 20.0
    """Between being asked to stop and being killed."""
    idle_s: float = 60.0
    """After so long without work, hosts and pilot jobs end."""
    orphan_s: float = 3600.0
    """After so long without a driver, hosts and pilot jobs end by themselves."""
    code_digest: str = ""
    """Of a copy of the code under `home`; empty: it is copied now."""
    git: str = ""
    """Commit of the code, for the commit records."""
    version: str = ""
    """Of the code, for the commit records."""
    needs_devices: bool = True
    """Whether any job of the run asks for a device; where none does, devices are not looked at."""
    server: Sequence[str] = COMMAND
    """Command line of a host's warm server."""
    variables: JobVariables = NOTHING_MORE
    """What jobs get of the environment beyond what every child process gets."""

    def host_description(self) -> dict[str, Any]:
        """What a host needs to know, as JSON (`host.description`)."""
        from orchestrator.host.description import describe  # all that runs on hosts, which only a run needs

        return describe(
            self.home,
            self.store,
            code_digest=self.code_digest,
            git=self.git,
            version=self.version,
            server=self.server,
            variables=self.variables,
        )


@dataclass(frozen=True, kw_only=True)
class SiteCapacity:
    """The hosts that the jobs of a run may count on, there now or to come."""

    where: str
    """For people: where they are and what they have, such as `the Ray cluster at 'head:6379' has 2 nodes with ...`."""
    hosts: tuple[HostShare, ...]
    is_all: bool = True
    """False: these are what files say of a site that cannot be asked now, and it may have more."""


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """What a run would submit: the subject of a preflight and of a backend's health checks."""

    home: Path
    cluster: Cluster
    cluster_file: Path
    """Where `cluster` is described, or would be."""
    matrix: Path
    jobs: Iterable[Job]
    """Those that are not done; may be read once."""
    environment: Mapping[str, str] = field(default_factory=dict)
    store: StoreLocation | None = None
    """Of the study, where a check asks for it."""
    code_digest: str = ""
    """Of the code that jobs would run, where a check asks for it."""
    why_unrunnable: Callable[[SiteCapacity], str] = lambda _capacity: ""
    """Which of the jobs fit on none of some hosts, and what to do; empty: each does. For checks."""
    may_ask: bool = True
    """Whether the addresses of the cluster file may be contacted, with the credentials of this shell."""
    takes_over: bool = False
    """Whether attempts of an earlier driver are open: then a site that does not answer is waited for."""


@dataclass(frozen=True, kw_only=True)
class LocalShare:
    """The part of this machine that jobs may use; None: all that there is."""

    section: str
    """Of the cluster file, where it is set."""
    cpus: int | None = None
    devices: int | None = None
    memory_gib: float | None = None

    def host(self, name: str = "local", environment: Mapping[str, str] = os.environ) -> HostShare:
        """The machine of this process, as far as jobs may use it."""
        return HostShare(
            name=name,
            cpus=machine_cpus() if self.cpus is None else self.cpus,
            devices=machine_devices(environment) if self.devices is None else self.devices,
            memory_gib=machine_gib() if self.memory_gib is None else self.memory_gib,
        )


def excess_devices(share: LocalShare, environment: Mapping[str, str] = os.environ) -> tuple[str, str] | None:
    """That a share names more devices than this process may use, and the remedy; None: it does not."""
    there = machine_devices(environment)
    if share.devices is None or share.devices <= there:
        return None
    text = environment.get(VISIBLE)
    why = "" if text is None else f", as {VISIBLE} is {text!r}"
    return (
        f"{share.section}.devices is {share.devices}, but {there} can be used here{why}",
        f"set {share.section}.devices to null or to {there}",
    )


@dataclass(frozen=True, kw_only=True)
class BackendGarbage:
    """A file or folder that a backend left below `outputs/{study}`, and that nothing needs any more."""

    path: Path
    what: str
    """For people."""


class RemoteDriver(Protocol):
    """A controller that `run --detach` starts on another machine, which sees the study's folder."""

    id: str
    """For people; empty before `start`."""

    def start(self, arguments: Sequence[str], *, python: str, code: Path, home: Path, out: Path) -> None:
        """Start `echo-matrix ARGUMENTS`; `python` and `code` as here, if they are there. Its output goes to `out`."""

    def exit_code(self) -> int | None:
        """None: it has not ended, as far as is known."""

    def output(self) -> str:
        """What it has printed elsewhere than to `out`."""


def _as_read(settings: Any, _source: SectionSource) -> Any:
    return settings


def _accept(_run: PlannedRun, _say: Callable[[str], None]) -> None:
    return None


@dataclass(frozen=True, kw_only=True)
class BackendPlugin:
    """One backend."""

    name: str
    """As in `backend: NAME`; also the section of cluster/*.yaml with its settings."""
    settings: type
    """A frozen dataclass of that section; all fields have defaults."""
    build: Callable[[BackendContext, Cluster], Backend]
    """Makes the backend; nothing is started yet."""
    outlives_driver: Callable[[Cluster], bool]
    """Whether attempts go on without a driver, and the next one adopts them."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Keys of `Cluster` whose default differs for this backend, such as `{"grace_s": 60.0}`; sections as mappings."""
    complete: Callable[[Any, SectionSource], Any] = _as_read
    """Refuses settings that types and ranges cannot rule out, and returns those that hold."""
    libraries: tuple[str, ...] = ()
    """Modules that it imports on the machine of the controller, and that the core installation does not have."""
    preflight: Callable[[PlannedRun, Callable[[str], None]], SiteCapacity | None] = _accept
    """Before anything is recorded or submitted: raises SiteError for jobs that the site cannot run.

    The second argument is told what does not stop the run. Returned are the hosts that it has or may get, where they
    are known: a run of jobs that fit on none of them is refused."""
    preview: Callable[[PlannedRun, Callable[[str], None]], SiteCapacity | None] = _accept
    """The same for `plan`, within seconds: raises SiteError where the site answers and would refuse any run.

    The second argument is told what would keep a run from starting now; a plan may be made far from its site."""
    scripts: Callable[[PlannedRun, BackendContext, Sequence[PlannedSubmission]], ScriptPlan] | None = None
    """The scripts that a run would send to a scheduler, for `plan --sbatch`; writes nothing. None: it sends none."""
    checks: Mapping[str, Callable[[PlannedRun], Iterable[CheckResult]]] = field(default_factory=dict)
    """The backend's part of `doctor`, by name; made only where the backend is the chosen one."""
    leftovers: Callable[[], Iterable[CheckResult]] = tuple
    """What dead drivers left outside `outputs/{study}` on this machine."""
    garbage: Callable[[Path], Iterable[BackendGarbage]] = lambda _home: ()
    """The backend's part of `gc`; called only while no attempt of the study is open."""
    local_share: Callable[[Cluster], LocalShare | None] = lambda _cluster: None
    """What of this machine the jobs may use; None: they run elsewhere."""
    remote_driver: Callable[[Cluster], RemoteDriver | None] = lambda _cluster: None
    """Where `run --detach` starts the controller; None: on this machine."""
    templates: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """NAME of a cluster file that `init` writes -> package, and the file in it; `$stage` stands for a stage."""
    publishes_results: bool = True
    """False: a rehearsal, with a home of its own (`outputs/{study}-rehearsal`), no report and no real devices."""
