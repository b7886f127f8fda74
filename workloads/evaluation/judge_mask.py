"""The judge `mask`: was the place that was returned to the same, as only a renderer can tell.

Four scores of 0..5 a frame of the tail, from the true view, the view without its object, the object's mask and the
pixels that the source saw: is it this view, is the object there, is it this object, is the rest of the scene the
same. It is deterministic and measures; it does not understand. Definitions: study.md section 7, Judge.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from workloads.data.geometry import overlap, turned
from workloads.data.poses import Poses
from workloads.data.visibility import contrast, dilated, rmse
from workloads.evaluation.seen import Scene, seen_from

BEST = 5.0
WEIGHTS = {"appearance": 0.45, "presence": 0.25, "view": 0.20, "scene": 0.10}
OFFSETS_DEG = np.arange(-8, 9) * 2.5
VIEW_LIMIT_DEG = 10.0  # an offset of this and more scores nothing
CLEAR_MINIMUM = 0.6  # the best offset counts if its error is at most this share of the median
CONTRAST_SHARE = 0.5  # an object scores full presence from this share of its true contrast on
APPEARANCE_LIMIT = 0.2  # RMSE on the object's pixels, RGB in 0..1
KEPT_SHARE = 0.5  # of the object's pixels, for the other scores to follow the best offset

Frames = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Scores:
    """Scores 0..5; None: cannot be judged, because the object is in none of the tail's true frames."""

    appearance: float | None
    presence: float | None
    view: float
    scene: float

    @property
    def total(self) -> float | None:
        """0..100: 20 · (0.45·appearance + 0.25·presence + 0.20·view + 0.10·scene)."""
        if self.appearance is None or self.presence is None:
            return None
        parts = {
            "appearance": self.appearance,
            "presence": self.presence,
            "view": self.view,
            "scene": self.scene,
        }
        return 100.0 / BEST * sum(WEIGHTS[name] * score for name, score in parts.items())


def tail(poses: Poses, tail_frames: int, min_overlap: float) -> npt.NDArray[np.int64]:
    """Those of the last `tail_frames` frames whose overlap with the first frame's pose is at least `min_overlap`."""
    last = np.arange(max(1, len(poses) - tail_frames), len(poses))
    kept: npt.NDArray[np.int64] = last[overlap(poses[last], poses[0])[:, 0] >= min_overlap]
    return kept


@dataclass(frozen=True)
class Views:
    """The truth at `n` poses and all `OFFSETS_DEG` around each, as the judge needs it."""

    world: Scene
    poses: Poses
    """(n · offsets,)."""
    true: Frames
    """(n, offsets, h, w, 3)."""
    objects: npt.NDArray[np.bool_]
    """(n, offsets, h, w)."""
    surroundings: npt.NDArray[np.bool_]
    """(n, offsets, h, w): seen by the source, and outside the object's one-pixel dilation."""


def views_around(world: Scene, source: Poses, poses: Poses) -> Views:
    """Draw the truth around `poses` (n); `source` is one pose, that of the source frame."""
    views = Poses.concatenate([turned(poses[i], float(offset)) for i in range(len(poses)) for offset in OFFSETS_DEG])
    true, objects = world.frames_and_masks(views)
    surroundings = seen_from(world, source, views) & ~dilated(objects, 1)
    grid = (len(poses), len(OFFSETS_DEG))
    return Views(
        world,
        views,
        true.reshape(*grid, *true.shape[1:]),
        objects.reshape(*grid, *objects.shape[1:]),
        surroundings.reshape(*grid, *surroundings.shape[1:]),
    )


def judge(views: Views, frames: Frames) -> Scores:
    """Scores of the generated `frames` (n, h, w, 3): the mean over frames.

    Raises:
        ValueError: no frames, or another number or size than the views'.
    """
    if not len(frames) or frames.shape != views.true[:, 0].shape:
        raise ValueError(f"the judge needs a frame for each view and at least one, got {frames.shape}")
    generated = frames.astype(np.float64) / 255.0
    found = [
        _view(generated[i], views.true[i] / 255.0, views.surroundings[i], views.objects[i]) for i in range(len(frames))
    ]
    looked_at = views.poses[[i * len(OFFSETS_DEG) + at for i, (_, at) in enumerate(found)]]
    bare = views.world.frames(looked_at, with_object=False) / 255.0
    rows = []
    for i, (view, at) in enumerate(found):
        true = views.true[i, at] / 255.0
        scene = _scene(generated[i], true, views.surroundings[i, at])
        presence, appearance = _object(generated[i], true, bare[i], views.objects[i, at])
        rows.append((appearance, presence, view, scene))
    appearance, presence, view, scene = np.asarray(rows).T
    judged = np.isfinite(presence)
    return Scores(
        appearance=float(appearance[judged].mean()) if judged.any() else None,
        presence=float(presence[judged].mean()) if judged.any() else None,
        view=float(view.mean()),
        scene=float(scene.mean()),
    )


Image = npt.NDArray[np.float64]
Masks = npt.NDArray[np.bool_]


def _view(generated: Image, true: Image, surroundings: Masks, objects: Masks) -> tuple[float, int]:
    """The score, and which offset the other scores look at."""
    straight = len(OFFSETS_DEG) // 2
    errors = np.array(
        [
            rmse(generated, true[k], surroundings[k]) if surroundings[k].any() else np.inf
            for k in range(len(OFFSETS_DEG))
        ]
    )
    possible = errors[np.isfinite(errors)]
    if not len(possible):
        return 0.0, straight
    best = min(range(len(errors)), key=lambda k: (errors[k], abs(OFFSETS_DEG[k]), k))
    if errors[best] > CLEAR_MINIMUM * np.median(possible):
        return 0.0, straight
    score = BEST * max(0.0, 1 - abs(float(OFFSETS_DEG[best])) / VIEW_LIMIT_DEG)
    keeps = objects[best].sum() >= KEPT_SHARE * objects[straight].sum()
    return score, best if keeps else straight


def _object(generated: Image, true: Image, without: Image, mask: Masks) -> tuple[float, float]:
    """Presence and appearance; nan where the true view does not show the object against its surroundings."""
    scale = contrast(true, mask) - contrast(without, mask)
    if scale <= 0:
        return float("nan"), float("nan")
    raised = contrast(generated, mask) - contrast(without, mask)
    presence = BEST * float(np.clip(raised / (CONTRAST_SHARE * scale), 0, 1))
    appearance = BEST * float(np.clip(1 - rmse(generated, true, mask) / APPEARANCE_LIMIT, 0, 1))
    return presence, min(presence, appearance)


def _scene(generated: Image, true: Image, surroundings: Masks) -> float:
    """5 at the truth, 0 where the error is as large as the truth's own variation."""
    if not surroundings.any():
        return 0.0
    spread = float(np.sqrt(np.mean((true[surroundings] - true[surroundings].mean(axis=0)) ** 2)))
    error = rmse(generated, true, surroundings)
    return BEST * float(np.clip(1 - error / spread, 0, 1)) if spread > 0 else BEST * float(error == 0)
