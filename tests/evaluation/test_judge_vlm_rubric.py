"""The question names the case's own object, and shows pictures that a model can see."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from workloads.data import layouts
from workloads.data.elements import LOOKS, TEXTURES, in_words
from workloads.evaluation.vlm import rubric
from workloads.evaluation.vlm.cache import key_of


def catalogue() -> list[str]:
    """The names of all objects of both domains."""
    return [
        in_words(layouts.placed_object(domain, number, 0.0, 0.0, 2.5, 7.0))
        for domain in layouts.DOMAINS.values()
        for number in range(layouts.OBJECTS)
    ]


def test_the_rubric_names_the_cases_own_object_and_no_other() -> None:
    names = catalogue()
    assert len(set(names)) == len(names)
    for own in names:
        text = rubric.rubric(own, 4)
        assert [name for name in names if name in text] == [own]
        assert rubric.UNKNOWN not in text


def test_without_a_known_object_the_most_salient_one_is_asked_about() -> None:
    text = rubric.rubric(None, 4)
    assert rubric.UNKNOWN in text
    assert not [name for name in catalogue() if name in text]


def test_every_texture_can_be_put_in_words() -> None:
    assert set(LOOKS) == set(TEXTURES)


def test_small_frames_are_enlarged_without_smoothing_and_large_ones_kept() -> None:
    frame = np.arange(8 * 16 * 3, dtype=np.uint8).reshape(8, 16, 3)
    shown = decoded(rubric.data_url(frame))
    assert shown.shape == (rubric.LEAST_SIDE, 2 * rubric.LEAST_SIDE, 3)
    np.testing.assert_array_equal(shown[::28, ::28], frame)
    assert len(np.unique(shown.reshape(-1, 3), axis=0)) == len(np.unique(frame.reshape(-1, 3), axis=0))
    large = np.zeros((352, 640, 3), dtype=np.uint8)
    assert decoded(rubric.data_url(large)).shape == large.shape


def test_pictures_come_in_order_each_after_its_label() -> None:
    images = np.stack([np.full((8, 16, 3), grey, dtype=np.uint8) for grey in (10, 20, 30)])
    system, user = rubric.turns("an egg shape", images)
    assert system == {"role": "system", "content": rubric.SYSTEM}
    labels = [part["text"] for part in user["content"][1::2]]
    assert labels == ["Image 1 (first view):", "Image 2 (return, 1 of 2):", "Image 3 (return, 2 of 2):"]
    assert [int(decoded(part["image_url"]["url"]).max()) for part in user["content"][2::2]] == [10, 20, 30]


def test_a_question_without_a_tail_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one frame of the tail"):
        rubric.turns(None, np.zeros((1, 8, 16, 3), dtype=np.uint8))


def test_an_answers_key_depends_on_each_thing_that_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.arange(2 * 8 * 16 * 3, dtype=np.uint8).reshape(2, 8, 16, 3)
    other = images.copy()
    other[1, 0, 0, 0] += 1
    key = key_of(images, "an egg shape", "m")
    assert key == key_of(images.copy(), "an egg shape", "m")
    others = [
        key_of(other, "an egg shape", "m"),
        key_of(images[::-1], "an egg shape", "m"),
        key_of(images.reshape(2, 16, 8, 3), "an egg shape", "m"),
        key_of(images, "a drop shape", "m"),
        key_of(images, None, "m"),
        key_of(images, "an egg shape", "n"),
    ]
    monkeypatch.setattr(rubric, "VERSION", rubric.VERSION + 1)
    others.append(key_of(images, "an egg shape", "m"))
    assert len({key, *others}) == 1 + len(others)


def decoded(url: str) -> np.ndarray:
    head, _, body = url.partition(",")
    assert head == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(body))))
