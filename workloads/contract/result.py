"""Result of an attempt (`result.json`), and the files written while it runs.

| file | where | content |
|---|---|---|
| `result.json` | work | `Result` |
| `metrics.jsonl` | work | a line `{"step", "name", "value", "wall"}`; names without stage prefix (`loss`) |
| `heartbeat.json` | work | `{"counter", "step", "of", "phase", "values"}`, at least every `HEARTBEAT_S` |
| `cases.jsonl` | out | stages with branches: a line `{"case", "metric", "unit", "better", "value"}` |

`values`: the latest value of each metric, by name. Standard library only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from workloads.contract.json_files import check_types, read_object, write_object

VERSION = 1
HEARTBEAT_S = 5.0

EXIT_OK = 0
EXIT_ERROR = 1
EXIT_BAD_INPUT = 2
EXIT_STOPPED = 3
EXIT_OUT_OF_MEMORY = 4
EXIT_DIVERGED = 5

Ending = Literal["ok", "error", "bad_input", "stopped", "out_of_memory", "diverged"]

EXIT_CODES: Mapping[Ending, int] = {
    "ok": EXIT_OK,
    "error": EXIT_ERROR,
    "bad_input": EXIT_BAD_INPUT,
    "stopped": EXIT_STOPPED,
    "out_of_memory": EXIT_OUT_OF_MEMORY,
    "diverged": EXIT_DIVERGED,
}


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Error of an attempt."""

    type: str
    message: str
    frames: Sequence[str]
    """`file:line function`, innermost last."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """How an attempt ended, what it did, and what it cost.

    `records` are compared between cells after a run: those of `StageSpec.checks` and `counted`, and how the job ran,
    `versions` {name: version}, `device_kind`, `threads`, `world_size`, `micro_batch`, and `numerics` {setting: value},
    what decided bits when the stage began to compute. `cost`: `device_s`, `peak_mib` and whatever the stage measures.
    """

    ending: Ending
    error: Failure | None
    steps: int
    records: Mapping[str, Any] = field(default_factory=dict)
    cost: Mapping[str, float | None] = field(default_factory=dict)
    version: int = VERSION

    def write(self, path: Path) -> None:
        """Write this result as JSON, atomically."""
        write_object(path, asdict(self))


_RESULT = {"ending": str, "error": (dict, type(None)), "steps": int, "records": dict, "cost": dict}
_FAILURE = {"type": str, "message": str, "frames": list}


def read_result(path: Path) -> Result:
    """Read `result.json`.

    Raises:
        OSError: the attempt never wrote one (FileNotFoundError), or it cannot be read.
        ValueError: not JSON, another version, or a field that is missing, unknown or of another type.
    """
    raw = read_object(path)
    if raw.get("version") != VERSION:
        raise ValueError(f"{path}: version is {raw.get('version')!r}, this code reads {VERSION}")
    check_types(raw, _RESULT, path)
    if raw.get("ending") not in EXIT_CODES:
        raise ValueError(f"{path}: ending is {str(raw.get('ending'))[:60]!r}; allowed: {', '.join(EXIT_CODES)}")
    check_types(raw.get("cost", {}), dict.fromkeys(raw.get("cost", {}), (int, float, type(None))), f"{path}: cost")
    check_types(raw.get("records", {}), {"versions": dict}, f"{path}: records")
    try:
        error = raw["error"]
        if error is not None:
            check_types(error, _FAILURE, f"{path}: error")
        return Result(**{**raw, "error": None if error is None else Failure(**error)})
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from error
