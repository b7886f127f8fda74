"""A tiny pool with the true videos of its cases, and requests to judge them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import made_pool

from workloads.contract.request import Request
from workloads.data import generate
from workloads.data.pool import Pool
from workloads.evaluation.cases import turning, write_settings
from workloads.evaluation.finished import save_frames

TURNS_DEG = [-45.0, 45.0]


def make(folder: Path) -> dict[str, Path]:
    """Pool and evaluation of its four open-domain scenes."""
    data, evaluated = folder / "data", folder / "evaluate"
    made_pool.run(generate, made_pool.request(data, "data", {"data": made_pool.CONTROLS["data"]}, {}))
    pool = Pool.open(data / "out")
    settings = turning(pool, pool.scenes("open"), TURNS_DEG, int(pool.data["chunk_frames"]))
    (evaluated / "frames").mkdir(parents=True)
    write_settings(evaluated / "cases.json", settings)
    for setting in settings:
        world = pool.world(setting.scene)
        assert world is not None
        save_frames(evaluated / "frames", setting, world.frames(setting.poses))
    return {"data": data / "out", "evaluate": evaluated}


def judgement(folder: Path, inputs: dict[str, Path], models: Sequence[str], **changed: Any) -> Request:
    """A request to judge by `models`."""
    judge = {**made_pool.CONTROLS["judge"], "name": "vlm", "models": list(models)}
    config = {"judge": judge, "branch": made_pool.BRANCHES["return"]}
    return made_pool.request(folder, "judge", config, inputs, **{"branch": "return", **changed})
