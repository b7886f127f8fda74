"""Schema of the ledger: its tables, the migrations from older versions, and its rows as values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from orchestrator.backends.protocol import Placement
from workloads.contract.request import Stage

VERSION = 4

_RECORDED_RUNS = """
CREATE TABLE IF NOT EXISTS recorded_runs (
    number INTEGER PRIMARY KEY AUTOINCREMENT, matrix TEXT NOT NULL, beside TEXT NOT NULL, profile TEXT NOT NULL,
    overrides TEXT NOT NULL, selection TEXT NOT NULL, at REAL NOT NULL, fingerprints BLOB NOT NULL, plan BLOB
);
"""

MIGRATIONS: Mapping[int, str] = {
    1: """
ALTER TABLE attempts ADD COLUMN cpus INTEGER NOT NULL DEFAULT 0;
ALTER TABLE attempts ADD COLUMN devices TEXT NOT NULL DEFAULT '[]';
DROP TABLE IF EXISTS sent;
DROP TABLE IF EXISTS runs;
""",
    2: "ALTER TABLE attempts RENAME COLUMN backend TO host;",
    3: f"""{_RECORDED_RUNS}
INSERT INTO recorded_runs (matrix, beside, profile, overrides, selection, at, fingerprints)
    SELECT '', '', profile, overrides, selection, 0.0, x'' FROM last_plan;
DROP TABLE last_plan;
""",
}
"""Version -> statements that make the next one of it, in one transaction."""

SCHEMA = f"""
CREATE TABLE IF NOT EXISTS attempts (
    id TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, job TEXT NOT NULL, label TEXT NOT NULL, stage TEXT NOT NULL,
    host TEXT NOT NULL, ticket TEXT NOT NULL, intended REAL NOT NULL, started REAL, ended REAL, ending TEXT,
    detail TEXT NOT NULL, begun INTEGER NOT NULL, step INTEGER NOT NULL, signature TEXT NOT NULL,
    cpus INTEGER NOT NULL DEFAULT 0, devices TEXT NOT NULL DEFAULT '[]'
);
CREATE INDEX IF NOT EXISTS attempts_of_job ON attempts (fingerprint);
CREATE INDEX IF NOT EXISTS attempts_open ON attempts (id) WHERE ending IS NULL;
CREATE TABLE IF NOT EXISTS charges (
    fingerprint TEXT PRIMARY KEY, error INTEGER NOT NULL, out_of_memory INTEGER NOT NULL, vanished INTEGER NOT NULL,
    free INTEGER NOT NULL, accumulate INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS jobs (
    fingerprint TEXT PRIMARY KEY, state TEXT NOT NULL, reason TEXT NOT NULL, stage TEXT NOT NULL,
    signature TEXT NOT NULL, at REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS plans (label TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, document TEXT NOT NULL);
{_RECORDED_RUNS}"""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One attempt of a job, as recorded."""

    id: str
    fingerprint: str
    job: str
    label: str
    stage: str
    host: str
    """Where it was placed; empty where a rebuilt ledger does not know."""
    intended: float
    """When it was decided, by the controller's clock, seconds since 1970; for people only, because clocks jump."""
    ticket: str = ""
    """The backend's name for it; empty until its answer is recorded."""
    started: float | None = None
    ended: float | None = None
    ending: str | None = None
    """None while it is open."""
    detail: str = ""
    begun: int = -1
    """Step of the checkpoint it resumed from; -1: from the start."""
    step: int = -1
    """Step of the newest complete checkpoint that it left; -1: none."""
    signature: str = ""
    """Equal for equal tracebacks (`retry_policy.signature`); empty without one."""
    cpus: int = 0
    """Of its place on the host; 0 where a rebuilt ledger does not know."""
    devices: tuple[int, ...] = ()
    """Numbers of the host's devices that it holds."""

    @property
    def placement(self) -> Placement:
        """Where it was placed."""
        return Placement(host=self.host, cpus=self.cpus, devices=self.devices)


@dataclass(frozen=True, kw_only=True)
class JobRecord:
    """A job that failed or was cancelled."""

    fingerprint: str
    state: Literal["failed", "cancelled"]
    reason: str
    stage: Stage
    signature: str
    at: float


def attempt_json(attempt: Attempt) -> dict[str, Any]:
    """An attempt as `status --json`, `explain --json` and `show --json` print it."""
    shown = ("id", "host", "ticket", "started", "ended", "ending", "detail", "begun", "step")
    return {name: getattr(attempt, name) for name in shown}
