"""Schema of the ledger: its tables, the migrations from older versions, and its rows as values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from orchestrator.backends.protocol import Placement
from orchestrator.plan.build import SMOKE_LABEL
from workloads.contract.request import Stage

VERSION = 8

_RECORDED_RUNS = """
CREATE TABLE IF NOT EXISTS recorded_runs (
    number INTEGER PRIMARY KEY AUTOINCREMENT, matrix TEXT NOT NULL, beside TEXT NOT NULL, profile TEXT NOT NULL,
    overrides TEXT NOT NULL, selection TEXT NOT NULL, at REAL NOT NULL, fingerprints BLOB NOT NULL, shape TEXT NOT NULL,
    plan BLOB
);
"""

_DURATIONS = """
CREATE TABLE IF NOT EXISTS durations (
    fingerprint TEXT PRIMARY KEY, stage TEXT NOT NULL, branch TEXT NOT NULL, row TEXT NOT NULL, smoke INTEGER NOT NULL,
    profile TEXT NOT NULL, backend TEXT NOT NULL, kind TEXT NOT NULL, cpus INTEGER NOT NULL, devices INTEGER NOT NULL,
    flops REAL, seconds REAL NOT NULL, estimated_s REAL, basis TEXT NOT NULL{added}
);
"""
"""Columns are named like the fields of `Duration`, and in their order; `added`: since the fourth version."""

MIGRATIONS: Mapping[int, str] = {
    1: """
ALTER TABLE attempts ADD COLUMN cpus INTEGER NOT NULL DEFAULT 0;
ALTER TABLE attempts ADD COLUMN devices TEXT NOT NULL DEFAULT '[]';
DROP TABLE IF EXISTS sent;
DROP TABLE IF EXISTS runs;
""",
    2: "ALTER TABLE attempts RENAME COLUMN backend TO host;",
    3: f"""
{_DURATIONS.format(added="")}
INSERT OR IGNORE INTO durations
    SELECT fingerprint, stage, '', '', label LIKE '%{SMOKE_LABEL}', '', '', '', cpus,
        CASE devices WHEN '[]' THEN 0 ELSE LENGTH(devices) - LENGTH(REPLACE(devices, ',', '')) + 1 END,
        NULL, MAX(ended - started), NULL, ''
    FROM attempts WHERE ending = 'ok' AND begun < 0 AND ended > started GROUP BY fingerprint;
""",
    4: f"""{_RECORDED_RUNS}
INSERT INTO recorded_runs (matrix, beside, profile, overrides, selection, at, fingerprints, shape)
    SELECT '', '', profile, overrides, selection, 0.0, x'', '' FROM last_plan;
DROP TABLE last_plan;
""",
    5: """
ALTER TABLE attempts ADD COLUMN others TEXT NOT NULL DEFAULT '[]';
ALTER TABLE attempts ADD COLUMN failed_on TEXT NOT NULL DEFAULT '';
""",
    6: "ALTER TABLE durations ADD COLUMN p95_s REAL;",
    7: "ALTER TABLE durations ADD COLUMN share REAL NOT NULL DEFAULT 1.0;",
}
"""Version -> statements that make the next one of it, in one transaction."""

SCHEMA = f"""
{_DURATIONS.format(added=", p95_s REAL, share REAL NOT NULL DEFAULT 1.0")}
CREATE TABLE IF NOT EXISTS attempts (
    id TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, job TEXT NOT NULL, label TEXT NOT NULL, stage TEXT NOT NULL,
    host TEXT NOT NULL, ticket TEXT NOT NULL, intended REAL NOT NULL, started REAL, ended REAL, ending TEXT,
    detail TEXT NOT NULL, begun INTEGER NOT NULL, step INTEGER NOT NULL, signature TEXT NOT NULL,
    cpus INTEGER NOT NULL DEFAULT 0, devices TEXT NOT NULL DEFAULT '[]', others TEXT NOT NULL DEFAULT '[]',
    failed_on TEXT NOT NULL DEFAULT ''
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
    """Where it was placed, or its rank 0; empty where a rebuilt ledger does not know."""
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
    failed_on: str = ""
    """Of several hosts the one that was lost, or whose rank was, as the backend reported."""
    cpus: int = 0
    """Of its place on the host; 0 where a rebuilt ledger does not know."""
    devices: tuple[int, ...] = ()
    """Numbers of the host's devices that it holds."""
    others: tuple[Placement, ...] = ()
    """Its shares of further hosts."""

    @property
    def placement(self) -> Placement:
        """Where it was placed."""
        return Placement(host=self.host, cpus=self.cpus, devices=self.devices, others=self.others)


@dataclass(frozen=True, kw_only=True)
class JobRecord:
    """A job that failed or was cancelled."""

    fingerprint: str
    state: Literal["failed", "cancelled"]
    reason: str
    stage: Stage
    signature: str
    at: float


def running_s(attempts: Sequence[Attempt]) -> float | None:
    """Seconds that those attempts ran of which a job's result is made: the last, and those that it continued.

    `attempts`: of one job, oldest first, the last ended well. None: a start or an end is not known.
    """
    total = 0.0
    for attempt in reversed(attempts):
        if attempt.started is None or attempt.ended is None or attempt.ended < attempt.started:
            return None
        total += attempt.ended - attempt.started
        if attempt.begun < 0:
            return total
    return total


def attempt_json(attempt: Attempt) -> dict[str, Any]:
    """An attempt as `status --json`, `explain --json` and `show --json` print it."""
    shown = ("id", "host", "ticket", "started", "ended", "ending", "detail", "begun", "step")
    several = {"hosts": attempt.placement.hosts, "failed_on": attempt.failed_on} if attempt.others else {}
    return {**{name: getattr(attempt, name) for name in shown}, **several}


def others_json(others: Sequence[Placement]) -> list[dict[str, Any]]:
    """`Attempt.others` as it is recorded."""
    return [{"host": one.host, "cpus": one.cpus, "devices": list(one.devices)} for one in others]


def others_from(raw: Any) -> tuple[Placement, ...]:
    """`Attempt.others` from what was recorded.

    Raises:
        ValueError: it is not what `others_json` makes.
    """
    try:
        found = [(str(one["host"]), int(one["cpus"]), tuple(map(int, one["devices"]))) for one in raw]
    except (TypeError, KeyError) as error:
        raise ValueError(f"the other hosts of an attempt are {raw!r}") from error
    return tuple(Placement(host=host, cpus=cpus, devices=devices) for host, cpus, devices in found)
