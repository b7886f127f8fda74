"""Notes of the report: what its scale can show, and which metrics are stand-ins."""

from collections.abc import Mapping, Sequence
from typing import Any

from workloads.contract.planned import PlannedCell
from workloads.study.stages import JUDGED

STAND_INS = {
    "perceptual": ("rf_distance", "LPIPS"),
    "frechet": ("rf_frechet", "FID"),
    "frechet_video": ("rf_frechet_video", "FVD"),
}
"""Key of a branch -> the name of its metric on random features, and the metric that it stands in for."""


def _measuring_notes(sections: Mapping[str, Any]) -> list[str]:
    """Which metrics are stand-ins, and the networks of the others, according to the keys of the branches."""
    chosen = {
        key: sorted(
            {str(section[key]) for name, section in sections.items() if name[:7] == "branch " and key in section}
        )
        for key in STAND_INS
    }
    notes = []
    random = [key for key, kinds in chosen.items() if "random" in kinds]
    if random:
        notes.append(
            f"{_listed([STAND_INS[key][1] for key in random])} need pretrained networks. Here the same formulas run on "
            f"fixed random features, and are named {_listed([STAND_INS[key][0] for key in random])}: other numbers, "
            "never beside published ones."
        )
    networks = {"alex": "AlexNet", "vgg": "VGG16"}
    found = [networks.get(kind, kind) for kind in chosen["perceptual"] if kind != "random"]
    if found:
        notes.append(f"LPIPS is measured on {_listed(found)}; published values are AlexNet's.")
    return notes


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def notes_of(cells: Sequence[PlannedCell], sections: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Notes on what this scale can and cannot show."""
    data, training = sections.get("data", {}), sections.get("training", {})
    seeds = sorted({cell.seed for cell in cells})
    notes = []
    if data.get("source") == "worlds":
        notes.append(
            f"Frames are {data.get('height')}×{data.get('width')} pixels of rendered worlds, and each model trains "
            f"from scratch for {training.get('steps')} steps. At this scale a difference between rows is about the "
            "mechanism of memory; it does not tell how good a large video model would look."
        )
    if len(seeds) == 1:
        notes.append(
            "One seed: intervals run over scenes only. They tell what another draw of scenes could change, and nothing "
            "about training again; small differences may turn with another seed."
        )
    elif len(seeds) == 2:
        notes.append("Two seeds: a true null is excluded in up to 10 % of cases, not 5; three seeds are the floor.")
    notes += _measuring_notes(sections)
    if any(cell.reference for cell in cells):
        notes.append(
            "Bounds are no memories: the true frames are the ceiling, a camera that stands still is the floor, and "
            "other known videos are further floors or reference lines. They take no rank and count in no finding; the "
            "floor shows which measures reward standing still, as comparing first and last frames does wherever the "
            "camera ends where it began."
        )
    if any(f"branch {branch}" in sections for branch in JUDGED):
        notes.append(
            "Loop and return are scored by the gated judge: the judge's total in a case in which the camera was "
            "measured to leave as commanded, 0 in any other. Left is the share of such cases, Turn how much of the "
            "commanded turn was made. A case whose turn cannot be measured counts as 0, and in the bound (Gated, at "
            "most) with its total, unless it is refused for its way back; what it adds to Turn means nothing."
        )
    if sections.get("judge", {}).get("name") == "mask":
        notes.append(
            "The judge compares with the renderer's truth under object masks. It is deterministic and exact about "
            "this world; its points are not those of a vision-language model."
        )
    models = sections.get("judge", {}).get("models", ())
    if models:
        notes.append(
            f"Scores of loop and return are those of {_listed(models)}, seen as the models see. A question without "
            "a valid answer is a missing score, never a zero."
        )
    return notes


BYPASSED = 1e-3
"""|ρy|/|x| below which a recurrence adds nothing (study.md section 5)."""

RECURRENCE_SHARE = "recurrence_share"
"""Metric of training with |ρy|/|x|."""


def remarks_of(label: str, last: Mapping[str, float]) -> list[str]:
    """Notes on a cell, from the last metrics of its training."""
    share = last.get(RECURRENCE_SHARE)
    if share is None or share >= BYPASSED:
        return []
    return [
        f"{label} ends with its recurrence at {share:.1e} of the signal: it is bypassed, and the row says nothing "
        "about a state."
    ]
