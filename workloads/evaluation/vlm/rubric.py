"""What a judge model is asked: the text, the pictures, and how they are put into turns (study.md section 7, Judge).

The text names the case's own object and no other. Anything here that changes what a model sees raises `VERSION`,
which is part of every cached answer's key.
"""

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from workloads.evaluation.videos import enlarged

VERSION = 1

LEAST_SIDE = 224
"""Pixels of a picture's shorter side, at least: smaller frames are enlarged by a whole number, nearest neighbour.
It is eight patches of 28 pixels, the unit in which Qwen's vision towers see."""

SCORES = ("appearance", "presence", "view", "scene")
BEST = 5
LONGEST_QUOTE = 2000  # characters of a model's own invalid answer that it is shown again

Frames = npt.NDArray[np.uint8]
Turn = dict[str, Any]
"""One message of a chat: role and content."""

SYSTEM = (
    "You compare images of a camera's return with the image it started from. Answer with one JSON object and nothing "
    "else: no explanation, no code fence. Its keys are exactly "
    '"appearance", "presence", "view" and "scene"; each value is a whole number from 0 to 5.'
)

UNKNOWN = "the most salient object of image 1 (the one that stands out most)"
"""How the object is called where nobody has named it."""


def rubric(named: str | None, tail: int) -> str:
    """The question's text.

    Args:
        named: the case's own object; None: the model looks for it in the first image.
        tail: images of the return.
    """
    thing = named or UNKNOWN
    last = f"image {tail + 1}" if tail == 1 else f"images 2 to {tail + 1}"
    return (
        f"Image 1 is what a camera saw first. It then turned away and came back; {last} "
        f"{'is' if tail == 1 else 'are'} the end of its way, where it should see the same place again. "
        "The images may be coarse: single large pixels are not a fault.\n"
        f"The object in question is {thing}.\n"
        "Score the return as a whole against image 1, each from 0 to 5 in whole numbers:\n"
        '"appearance": is it the same object? 5: same colours and shape; 3: alike, but changed; 1: hardly alike; '
        "0: another object, or none.\n"
        '"presence": is the object there? 5: plainly there in every image of the return; 3: faint, or only in some; '
        "0: in none.\n"
        '"view": does the camera look the same way as in image 1? 5: the same framing, object and surroundings where '
        "they were; 3: noticeably shifted; 0: another direction.\n"
        '"scene": are the surroundings, without the object, those of image 1? 5: the same; 3: similar; '
        "0: another place.\n"
        f'If the object is in no image of the return, "appearance" and "presence" are 0. Reply in the form '
        f'{{"appearance": a, "presence": p, "view": v, "scene": s}}.'
    )


def turns(named: str | None, images: Frames) -> list[Turn]:
    """The system turn and the question.

    Args:
        images: (1 + n, h, w, 3): the source frame, then the tail in order of time.

    Raises:
        ValueError: no tail.
    """
    if len(images) < 2:
        raise ValueError("a question needs the source frame and at least one frame of the tail")
    tail = len(images) - 1
    content: list[dict[str, Any]] = [{"type": "text", "text": rubric(named, tail)}]
    for i, image in enumerate(images):
        label = "first view" if i == 0 else f"return, {i} of {tail}"
        content.append({"type": "text", "text": f"Image {i + 1} ({label}):"})
        content.append({"type": "image_url", "image_url": {"url": data_url(image)}})
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": content}]


def corrected(asked: Sequence[Turn], said: str, wrong: str) -> list[Turn]:
    """The turns of asking again: what was asked, the invalid answer, and what is wrong with it."""
    return [
        *asked,
        {"role": "assistant", "content": said[:LONGEST_QUOTE] or "(no text)"},
        {"role": "user", "content": f"That answer cannot be used: {wrong}. {SYSTEM.partition('. ')[2]}"},
    ]


def data_url(image: Frames) -> str:
    """A frame (h, w, 3) as a PNG in a data URL, enlarged to `LEAST_SIDE` if it is smaller."""
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(enlarged(image, LEAST_SIDE))).save(out, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode('ascii')}"
