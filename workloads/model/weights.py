"""A trained model in a folder: `weights.safetensors` and `model.json`, nothing that could run code.

`model.json` holds what is needed to build the model again and to use it as it was trained: the sections
backbone, action, training, evidence, data and codec, and row, shape and seed.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from workloads.contract.rows import RowError, resolved
from workloads.model.differences import differences
from workloads.model.shapes import LatentShape
from workloads.model.shards import Shards, open_tensors
from workloads.model.world_model import WorldModel
from workloads.runtime.errors import BadInput
from workloads.study.memory.families import row_from

DESCRIBED = ("backbone", "action", "training", "evidence", "data", "codec", "row", "shape", "seed")
"""Keys of model.json."""

WEIGHTS = "weights.safetensors"
DESCRIPTION = "model.json"


FORMER = {"mechanism.mixing": "mechanism.memory.mixing"}
"""Name in weights from before mechanisms were made of parts -> name now."""


def current_name(name: str) -> str:
    """The name now of a parameter, or of what an optimiser keeps for one (`NAME...`)."""
    return next((now + name.removeprefix(old) for old, now in FORMER.items() if name.startswith(old)), name)


def save_model(folder: Path, model: WorldModel, description: Mapping[str, Any]) -> None:
    """Write float32 weights and their description; `shape` is taken from the model if it is not given.

    Raises:
        ValueError: a key of `DESCRIBED` is missing, or there is another one.
    """
    described = {"shape": asdict(model.shape), **description}
    if set(described) != set(DESCRIBED):
        odd = sorted(set(described) ^ set(DESCRIBED))
        raise ValueError(f"model.json holds exactly {', '.join(DESCRIBED)}; missing or unknown: {', '.join(odd)}")
    tensors = {name: value.detach().cpu().float().contiguous() for name, value in model.state_dict().items()}
    save_file(tensors, folder / WEIGHTS)
    text = json.dumps(described, indent=1, sort_keys=True)
    (folder / DESCRIPTION).write_text(text, encoding="utf-8")


def load_model(
    folder: Path, row: Mapping[str, Any] | None = None, device: str = "cpu"
) -> tuple[WorldModel, dict[str, Any]]:
    """The model of a folder and its description, ready to generate (no gradients, evaluation mode).

    Args:
        folder: where `save_model` wrote.
        row: a row to run the weights as, in its resolved form; None: the row they were trained for.
        device: `cpu` or `cuda`.

    Raises:
        BadInput: a file or key that is missing, unreadable, unknown, or of another shape; a pickle in place of the
            weights; NaN or infinity in them; weights of another row.
    """
    description = _description(folder / DESCRIPTION)
    wanted = description["row"] if row is None else row
    try:
        shape = LatentShape(**description["shape"])
        model = WorldModel(description["backbone"], description["action"], row_from(wanted), shape)
        # What a row masks at generation only, it trains as any other.
        trained_as, run_as = (resolved(row_from(each).trained()) for each in (description["row"], wanted))
    except (KeyError, TypeError, RowError) as error:
        raise BadInput(f"{folder / DESCRIPTION}: cannot build the model of row {wanted}: {error}") from error
    other = differences({"row": trained_as}, {"row": run_as})
    if other:
        raise BadInput(
            f"{folder / DESCRIPTION}: these weights are of another row: {other}; allowed: weights that were trained "
            "for this row; train it, or give the artifact of its training"
        )
    shards = Shards(folder / WEIGHTS, {str(folder / WEIGHTS): open_tensors(folder / WEIGHTS)})
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    in_file = {current_name(name): name for name in shards.entries}
    found = {name: shards.entries[written].shape for name, written in in_file.items()}
    if expected != found:
        odd = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
        raise BadInput(
            f"{folder / WEIGHTS}: {len(odd)} parameters are missing, unknown or of another shape for row {wanted}, "
            f"first {odd[0]}: expected {expected.get(odd[0])}, found {found.get(odd[0])}; "
            "use weights that were trained for this row"
        )
    model.load_state_dict({name: shards.read(written) for name, written in in_file.items()})
    return model.to(device).eval().requires_grad_(False), description


def _description(path: Path) -> dict[str, Any]:
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # a changed byte need not be UTF-8
        raise BadInput(f"{path}: not readable as JSON: {error}; train this row again") from error
    if not isinstance(described, dict) or set(described) != set(DESCRIBED):
        raise BadInput(f"{path}: holds {sorted(described)}, needs exactly {', '.join(DESCRIBED)}")
    return described
