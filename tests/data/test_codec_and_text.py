import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workloads.data import draws
from workloads.data.codec import make_codec
from workloads.data.text import make_text_encoder
from workloads.runtime.errors import BadInput

TEXT = {"text": "hashed", "text_tokens": 4, "text_width": 16}


@settings(deadline=None)
@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(0, 1000))
def test_decoding_restores_every_pixel(factor: int, t: int, rows: int, columns: int, seed: int) -> None:
    codec = make_codec({"kind": "space-to-depth", "factor": factor})
    shape = (t, rows * factor, columns * factor, 3)
    frames = draws.stream("test", seed).integers(0, 256, size=shape, dtype=np.uint8)
    latents = codec.encode(frames)
    assert latents.dtype == np.float32
    assert latents.shape == (t, codec.channels, *codec.latent_size(*shape[1:3]))
    assert np.abs(latents).max() <= 1
    assert np.array_equal(codec.decode(latents), frames)


def test_every_grey_survives_the_codec() -> None:
    codec = make_codec({"kind": "space-to-depth", "factor": 2})
    frames = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    assert np.array_equal(codec.decode(codec.encode(frames)), frames)


def test_latents_out_of_range_are_clamped() -> None:
    codec = make_codec({"kind": "space-to-depth", "factor": 1})
    latents = np.array([-2.0, 0.0, 2.0], dtype=np.float32).reshape(1, 3, 1, 1)
    assert codec.decode(latents).ravel().tolist() == [0, 128, 255]


def test_a_latent_sees_its_own_square_only() -> None:
    codec = make_codec({"kind": "space-to-depth", "factor": 2})
    black = np.zeros((1, 4, 8, 3), dtype=np.uint8)
    dotted = black.copy()
    dotted[0, 3, 6] = 255
    changed = (codec.encode(dotted) != codec.encode(black)).any(axis=1)[0]
    assert np.argwhere(changed).tolist() == [[1, 3]]


def test_codecs_that_need_weights_and_sizes_that_do_not_divide_are_refused() -> None:
    with pytest.raises(BadInput, match=r"controls\.codec\.kind 'wan' needs the folder.*paths: \{wan_vae: "):
        make_codec({"kind": "wan", "factor": 8})
    with pytest.raises(BadInput, match=r"controls\.codec\.kind is 'jpeg'; allowed: space-to-depth, wan"):
        make_codec({"kind": "jpeg", "factor": 8})
    with pytest.raises(BadInput, match="must be multiples of the factor"):
        make_codec({"kind": "space-to-depth", "factor": 3}).latent_size(8, 16)
    with pytest.raises(BadInput, match="at least 1"):
        make_codec({"kind": "space-to-depth", "factor": 0})
    with pytest.raises(BadInput, match=r"controls\.codec\.text 'umt5' needs a folder.*paths: \{umt5: "):
        make_text_encoder({**TEXT, "text": "umt5"})
    with pytest.raises(BadInput, match="allowed: hashed, umt5"):
        make_text_encoder({**TEXT, "text": "clip"})


def test_a_word_has_one_embedding_wherever_it_stands() -> None:
    encoder = make_text_encoder(TEXT)
    one, other = encoder.encode("a Meadow, at noon"), encoder.encode("meadow")
    assert one.shape == (4, 16)
    assert one.dtype == np.float32
    assert np.array_equal(one[1], other[0])
    assert not np.array_equal(one[0], one[1])


def test_padding_is_zero_and_an_empty_caption_is_all_padding() -> None:
    encoder = make_text_encoder(TEXT)
    assert not encoder.encode("two words")[2:].any()
    assert not encoder.encode("").any()
    assert encoder.encode("one two three four five").all(axis=1).all()
