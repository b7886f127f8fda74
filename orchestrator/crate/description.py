"""`study.json`: what a crate says of its study that neither matrix, plan nor commit records hold."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.crate.layout import PLAN, STUDY, VERSION
from orchestrator.errors import CrateError
from orchestrator.plan.durations import Duration
from orchestrator.plan.job import STATE_MEANINGS, Job, Plan, Standing
from orchestrator.plan.recorded import plan_of
from orchestrator.reporting.decoding import decoded
from orchestrator.reporting.registration.file import Entry, entries_of
from orchestrator.store.commits import FINGERPRINT
from reports.input import Race
from workloads.contract.json_files import check_types, read_object
from workloads.contract.workload import REFERENCES

LARGEST = 256 << 20  # bytes of a JSON file; the plan of 10,000 jobs has 10 MiB

LATER = "it ended while the crate was written"

_FIELDS = {
    **dict.fromkeys(("study", "profile"), str),
    **dict.fromkeys(("overrides", "durations", "left_out", "registered"), list),
    "missing": dict,
}
_JOB = {
    **dict.fromkeys(("id", "label", "fingerprint", "workload"), str),
    **dict.fromkeys(("config", "revisions", "inputs"), dict),
    "branch": (str, type(None)),
    "row": (dict, type(None)),
    "seed": (int, type(None)),
    "smoke": bool,
}
_CELL = dict.fromkeys(("id", "row"), str)
_DURATION = {
    **dict.fromkeys(("fingerprint", "stage", "branch", "row", "profile", "backend", "kind", "basis"), str),
    **dict.fromkeys(("cpus", "devices"), int),
    **dict.fromkeys(("flops", "estimated_s", "p95_s"), (int, float, type(None))),
    "seconds": (int, float),
    "smoke": bool,
}


@dataclass(frozen=True, kw_only=True)
class CrateDescription:
    """What the report is made from beside the results, and what was left out."""

    study: str
    profile: str
    overrides: tuple[str, ...]
    missing: Mapping[str, Standing]
    """Job id -> state, of the jobs that are not done."""
    durations: Sequence[Duration]
    """Of the plan's jobs."""
    left_out: Sequence[str] = field(default_factory=tuple)
    """What the crate could have held, and why it does not."""
    registered: Sequence[Entry] = field(default_factory=tuple)
    """What was registered of the plan, oldest first."""
    race: Race | None = None
    """Of its rows; None: they did not race."""

    @classmethod
    def of(
        cls,
        plan: Plan,
        standings: Mapping[str, Standing],
        durations: Sequence[Duration],
        done: Collection[str],
        registered: Sequence[Entry] = (),
        race: Race | None = None,
    ) -> "CrateDescription":
        """The description of a planned study; `done`: ids of the jobs whose results the crate holds."""
        own = {job.fingerprint for job in plan.jobs.values()}
        return cls(
            study=plan.study,
            profile=plan.profile,
            overrides=plan.overrides,
            missing={
                job: Standing(state="running", reason=LATER) if now.state == "done" else now
                for job, now in standings.items()
                if job not in done
            },
            durations=[one for one in durations if one.fingerprint in own],
            registered=registered,
            race=race,
        )

    @property
    def document(self) -> dict[str, Any]:
        """As JSON values."""
        return {"version": VERSION, **asdict(self)}

    def standings(self, plan: Plan) -> Mapping[str, Standing]:
        """The state of every job of a plan."""
        return {job: self.missing.get(job, Standing(state="done", reason="")) for job in plan.jobs}


def read_description(folder: Path) -> CrateDescription:
    """The description of the crate in `folder`.

    Raises:
        CrateError: there is none, or it is not as `export` writes it.
    """
    where = folder / STUDY
    try:
        raw = read_object(where, LARGEST)
        if raw.get("version") != VERSION:
            raise CrateError(f"{STUDY}: version is {str(raw.get('version'))[:60]!r}, this code reads {VERSION}")
        check_types(raw, _FIELDS, STUDY)
        for one in raw["durations"]:
            check_types(one, _DURATION, f"{STUDY}: durations")
        if not all(isinstance(text, str) for text in (*raw["overrides"], *raw["left_out"])):
            raise ValueError("overrides and left_out are lists of texts")
        missing = {str(job): Standing(**now) for job, now in raw["missing"].items()}
        if not all(now.state in STATE_MEANINGS and isinstance(now.reason, str) for now in missing.values()):
            raise ValueError("missing has an unknown state")
        return CrateDescription(
            study=raw["study"],
            profile=raw["profile"],
            overrides=tuple(raw["overrides"]),
            missing=missing,
            durations=[Duration(**one) for one in raw["durations"]],
            left_out=raw["left_out"],
            registered=entries_of(raw.get("registered", []), f"{STUDY}: registered"),
            race=decoded(Race | None, raw.get("race"), f"{STUDY}: race"),
        )
    except FileNotFoundError as error:
        raise CrateError(f"{STUDY} is not in the crate; get it again from where it was published") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CrateError(f"{STUDY}: is not as `export` writes it: {error}") from error


def read_plan(folder: Path) -> Plan:
    """The recorded plan of the crate in `folder`; without the code of its workload.

    Raises:
        CrateError: there is none, or it is not as `export` writes it.
    """
    try:
        plan = plan_of(read_object(folder / PLAN, LARGEST))
        for job in plan.jobs.values():
            _check_job(job, plan)
        for cell in plan.cells:
            check_types(vars(cell), _CELL, f"cell {str(cell.id)[:80]!r}")
        return plan
    except FileNotFoundError as error:
        raise CrateError(f"{PLAN} is not in the crate; get it again from where it was published") from error
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise CrateError(f"{PLAN}: is not as `export` writes it: {error}") from error


def _check_job(job: Job, plan: Plan) -> None:
    """Refuse a job whose fields are of other types, or that needs a job that the plan does not have.

    Raises:
        ValueError: which, and what is wrong with it.
    """
    where = f"job {str(job.id)[:80]!r}"
    check_types(vars(job), _JOB, where)
    if not FINGERPRINT.fullmatch(job.fingerprint):
        raise ValueError(f"{where}: fingerprint is {job.fingerprint[:80]!r}; allowed: the 64 hex digits of a sha256")
    if job.spec.row == "references" and not isinstance(job.config.get(REFERENCES), dict):
        raise ValueError(f"{where}: its config has no {REFERENCES}, and it is of reference rows")
    unknown = [need for need in job.inputs.values() if not isinstance(need, str) or need not in plan.jobs]
    if unknown or job.id not in plan.jobs:
        raise ValueError(f"{where}: needs {str(unknown)[:80]}, which is no job of the plan")
