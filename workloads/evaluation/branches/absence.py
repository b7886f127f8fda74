"""The branch absence: how long is a place remembered? (study.md section 7).

Open-domain first frames; the camera turns away until the source is out of sight, looks about for a number of chunks,
and comes back the way it went. The cases of all gaps have the same first frames and the same noise, chunk by chunk, so
that until the gaps part their videos are equal: the curve over the gaps is of one thing. What is measured is measured
as on `return`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from workloads.data.pool import Pool
from workloads.evaluation.branches import return_
from workloads.evaluation.cases import Setting, first_by_hash, in_group, open_scenes, turning
from workloads.runtime.errors import BadInput

NETWORKS: Sequence[str] = ()


def settings(pool: Pool, section: Mapping[str, Any], chunk_frames: int) -> list[Setting]:
    """The first frames of open-domain scenes, the first n by hash, for each gap in turn."""
    away, between = [float(turn) for turn in section["away_deg"]], [float(turn) for turn in section["between_deg"]]
    found: list[Setting] = []
    for gap in section["gaps"]:
        if gap % max(1, len(between)):
            raise BadInput(f"branches.absence.gaps has {gap}; allowed: multiples of {len(between)}, as of between_deg")
        looks = between * (int(gap) // max(1, len(between)))
        turns = [*away, *looks, *(-turn for turn in reversed(away))]
        cases = turning(pool, open_scenes(pool, "absence"), turns, chunk_frames)
        first = first_by_hash(cases, int(section["cases"]), "branches.absence.cases")
        found += [in_group(one, f"gap{gap}", drawn_as=("absence", one.id)) for one in first]
    return found


truth, measure, features, pooled = return_.truth, return_.measure, return_.features, return_.pooled
