"""The branch sensitivity: does a row use what it is shown? (study.md section 7).

The cases of `return`, once as they are and once for each thing that is wrong with their evidence (`perturbations.py`).
All of them are generated from the noise of `return`, so that with equal sections those as they are have its bits, and
a fall is the perturbation's alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from workloads.data.pool import Pool
from workloads.evaluation.branches import return_
from workloads.evaluation.cases import Setting, first_by_hash, in_group, open_scenes, turning
from workloads.runtime.errors import BadInput
from workloads.study.scenes import AS_IT_IS

NETWORKS: Sequence[str] = ()


def settings(pool: Pool, section: Mapping[str, Any], chunk_frames: int) -> list[Setting]:
    """The first frames of open-domain scenes, the first n by hash, as they are and for each perturbation in turn."""
    turns = [float(turn) for turn in section["turns_deg"]]
    if not turns or abs(sum(turns)) > return_.CLOSED_DEG:
        allowed = "allowed: turns that add up to 0, e.g. [-45.0, 45.0]"
        raise BadInput(f"branches.sensitivity.turns_deg is {turns}; {allowed}")
    cases = turning(pool, open_scenes(pool, "sensitivity"), turns, chunk_frames)
    first = first_by_hash(cases, int(section["cases"]), "branches.sensitivity.cases")
    return [
        in_group(one, kind, drawn_as=("return", one.id), perturbation="" if kind == AS_IT_IS else kind)
        for kind in (AS_IT_IS, *section["perturb"])
        for one in first
    ]


truth, measure, features, pooled = return_.truth, return_.measure, return_.features, return_.pooled
