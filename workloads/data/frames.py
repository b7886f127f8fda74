"""From a codec's values to 8-bit frames, and which of them are no image: nothing is cast, clipped or averaged unseen.

| what | how it is told | what follows |
|---|---|---|
| not finite | a value is NaN or infinite | `BrokenFrame` |
| clipped | most values are further outside −1..1 than that range is wide | `BrokenFrame` |
| blank | every pixel has the same colour, within one level of 255 | no value where made frames are compared |

The first two are a model that has diverged. A blank frame may be what a model shows, so it is measured against the
truth; but two blank frames are always equal.
"""

import numpy as np
import numpy.typing as npt

from workloads.runtime.errors import Diverged

FAR = 3.0
"""A value is clipped, not merely rounded, from this size on: one width of −1..1 beyond its ends."""
MOST_CLIPPED = 0.5
"""Share of a frame's values that may be. Of frames of trained rows it is 0; of a diverged model nearly all are."""
BLANK_LEVELS = 1.0
"""Root mean square of a frame's pixels around their mean colour, in levels of 255, under which nothing is in it."""


class BrokenFrame(Diverged):
    """Values that are no image."""


def displayed(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Frames (t, h, w, 3) of values in −1..1 as 8 bits, clamped and rounded.

    Raises:
        BrokenFrame: a frame that is not finite, or of which most values are far outside the range.
    """
    for number, frame in enumerate(values):
        finite = np.isfinite(frame)
        if not finite.all():
            raise BrokenFrame(
                f"{int((~finite).sum())} of {frame.size} values of frame {number} of {len(values)} are not finite"
            )
        clipped = float((np.abs(frame) > FAR).mean())
        if clipped > MOST_CLIPPED:
            raise BrokenFrame(
                f"{clipped:.0%} of the values of frame {number} of {len(values)} are outside ±{FAR:g}, the largest at "
                f"{float(np.abs(frame).max()):.3g}; an image's are in ±1: clipped, only black and white would be left"
            )
    return np.asarray(np.rint((np.clip(values, -1, 1) + 1) * 127.5), dtype=np.uint8)


def blank(frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Which of the frames (t, h, w, 3) show nothing: one colour, within `BLANK_LEVELS`."""
    spread = frames.reshape(len(frames), -1, 3).std(axis=1, dtype=np.float64).max(axis=1)
    found: npt.NDArray[np.bool_] = spread < BLANK_LEVELS
    return found
