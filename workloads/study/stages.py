"""What each stage reads: the one table behind fingerprints, requests and recovery.

A job's fingerprint covers exactly `sections`, the row, the seed, the branch and the fingerprints
of `inputs`; a request's `config` holds exactly these sections. `REVISIONS` has one line per thing
whose meaning can change: raising a number redoes what read it and nothing else.

Standard library only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from workloads.contract.request import Stage

FORMAT = 1
"""Version of the fingerprint's own layout."""


@dataclass(frozen=True, kw_only=True)
class Reads:
    """What one stage reads."""

    sections: tuple[str, ...]
    """Sections under `controls`; `section.key` where only a part is read, `section-key` never."""
    inputs: tuple[Stage, ...]
    row: Literal["none", "trained", "generated"] = "none"
    seed: bool = False
    branch: bool = False


# `index` reads the codec's kind for its time factor: segments start at its multiples. It leaves out
# `evidence.frames`: it lists every candidate, and each row takes its own K from the list, so that one index
# serves all rows and Context rows do not depend on the default K.
STAGES: Mapping[Stage, Reads] = {
    "data": Reads(sections=("data",), inputs=()),
    "latents": Reads(sections=("data", "codec"), inputs=("data",)),
    "index": Reads(
        sections=(
            "data",
            "codec.kind",
            "evidence.rule",
            "evidence.min_overlap",
            "evidence.drop",
            "training.steps",
            "training.global_batch",
        ),
        inputs=("data",),
        seed=True,
    ),
    "train": Reads(
        sections=("data", "evidence", "action", "backbone", "training"),
        inputs=("latents", "index"),
        row="trained",
        seed=True,
    ),
    "evaluate": Reads(
        sections=("evidence", "sampler"), inputs=("train", "data", "latents"), row="generated", branch=True
    ),
    "judge": Reads(sections=("judge",), inputs=("evaluate", "data"), branch=True),
}

JUDGED = ("loop", "return")
"""Branches with a judge; replay is measured against known frames."""

BRANCHES = ("replay", "loop", "return")

REVISIONS: Mapping[str, int] = {
    "stage/data": 1,
    "stage/latents": 1,
    "stage/index": 1,
    "stage/train": 1,
    "stage/evaluate": 1,
    "stage/judge": 1,
    "source/worlds": 1,
    "source/context-as-memory": 1,
    "codec/space-to-depth": 1,
    "codec/wan": 1,
    "memory/context": 1,
    "memory/compress": 1,
    "memory/spatial": 1,
    "memory/ssm": 1,
    "memory/bound": 1,
    "branch/replay": 1,
    "branch/loop": 1,
    "branch/return": 1,
    "judge/mask": 1,
    "judge/vlm": 1,
}


def revisions(
    stage: Stage,
    *,
    source: str | None = None,
    codec: str | None = None,
    family: str | None = None,
    branch: str | None = None,
    judge: str | None = None,
) -> dict[str, int]:
    """The lines of `REVISIONS` that a job reads; arguments are given where the stage reads them.

    Raises:
        KeyError: a source, codec, family, branch or judge without a revision.
    """
    names = [f"stage/{stage}"]
    for kind, name in (("source", source), ("codec", codec), ("memory", family), ("branch", branch), ("judge", judge)):
        if name is not None:
            names.append(f"{kind}/{name}")
    return {name: REVISIONS[name] for name in sorted(names)}
