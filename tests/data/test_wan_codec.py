"""The Wan VAE and UMT5 on small random weights: the same code path as with the real ones."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLWan
from safetensors.torch import load_file, save_file
from tiny_models import TEXT_TOKENS, TEXT_WIDTH, WAN, make_umt5, make_vae
from transformers import AutoTokenizer, UMT5EncoderModel

from workloads.data import draws
from workloads.data.codec import latents_of, make_codec
from workloads.data.text import make_text_encoder
from workloads.data.umt5 import cleaned
from workloads.runtime.errors import BadInput

H, W = 16, 24
STEM = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def vae(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_vae(tmp_path_factory.mktemp("vae"))


@pytest.fixture(scope="module")
def umt5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_umt5(tmp_path_factory.mktemp("umt5"))


def frames(n: int, name: str = "frames") -> np.ndarray:
    return (draws.uniform((n, H, W, 3), "test", name) * 256).astype(np.uint8)


def codec(vae: Path, **changed: Any) -> Any:
    return make_codec({**WAN, **changed}, {"wan_vae": str(vae)})


def test_latents_are_the_posterior_mean_standardised_by_the_configs_own_numbers(vae: Path) -> None:
    clip = frames(9)
    twin = AutoencoderKLWan.from_pretrained(vae).eval()
    pixels = torch.from_numpy(clip).permute(3, 0, 1, 2)[None].float() / 127.5 - 1
    with torch.no_grad():
        mean = twin.encode(pixels).latent_dist.mean[0]
    expected = (mean - torch.tensor(twin.config.latents_mean).view(16, 1, 1, 1)) / torch.tensor(
        twin.config.latents_std
    ).view(16, 1, 1, 1)
    found = codec(vae).encode(clip)
    assert found.shape == (3, 16, 2, 3) and found.dtype == np.float32
    np.testing.assert_allclose(found, expected.transpose(0, 1).numpy(), atol=1e-5)


def test_decoding_undoes_the_standardisation_and_gives_back_the_clips_length(vae: Path) -> None:
    latents = draws.normal((3, 16, 2, 3), "test", "latents")
    twin = AutoencoderKLWan.from_pretrained(vae).eval()
    mean, std = (torch.tensor(twin.config[n]).view(1, 16, 1, 1, 1) for n in ("latents_mean", "latents_std"))
    with torch.no_grad():
        pixels = twin.decode(torch.from_numpy(latents).transpose(0, 1)[None] * std + mean).sample[0]
    expected = np.rint((pixels.permute(1, 2, 3, 0).numpy().clip(-1, 1) + 1) * 127.5)
    found = codec(vae).decode(latents)
    assert found.shape == (9, H, W, 3) and found.dtype == np.uint8
    assert np.abs(found.astype(int) - expected).max() <= 1


def test_a_clip_is_encoded_causally(vae: Path) -> None:
    clip = frames(13)
    late = clip.copy()
    late[9:] = frames(4, "other")
    before, after = codec(vae).encode(clip), codec(vae).encode(late)
    assert np.array_equal(before[:3], after[:3])
    assert not np.array_equal(before[3], after[3])


def test_evidence_frames_know_nothing_of_their_neighbours_and_the_anchor_is_the_clips_first_latent(vae: Path) -> None:
    clip, made = frames(11), codec(vae)
    each = made.encode_each(clip)
    assert each.shape == (11, 16, 2, 3)
    for i in (0, 3, 10):
        np.testing.assert_allclose(each[i], made.encode(clip[i : i + 1])[0], atol=1e-5)
    np.testing.assert_allclose(each[0], made.encode(clip[:9])[0], atol=1e-5)
    assert made.encode_each(clip[:0]).shape == (0, 16, 2, 3)


def test_the_codec_computes_in_float32_inside_a_roll_outs_autocast(vae: Path) -> None:
    clip, made = frames(5), codec(vae)
    plain = made.encode(clip)
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert np.array_equal(made.encode(clip), plain)
        assert np.array_equal(made.decode(plain), made.decode(plain.copy()))


def test_clips_and_sizes_that_do_not_divide_are_refused(vae: Path) -> None:
    assert latents_of(81, "wan") == 21 and latents_of(81, "space-to-depth") == 81
    with pytest.raises(BadInput, match=r"chunk_frames is 80.*such as 77"):
        latents_of(80, "wan")
    with pytest.raises(ValueError, match="a clip has 4 n \\+ 1 frames, got 8"):
        codec(vae).encode(frames(8))
    with pytest.raises(BadInput, match=r"controls\.data is 12x24 pixels.*multiples of the factor"):
        codec(vae).latent_size(12, 24)
    with pytest.raises(BadInput, match=r"the VAE shrinks by 8, controls\.codec\.factor is 4; set it to 8"):
        codec(vae, factor=4)


def spoil_nan(folder: Path) -> None:
    weights = load_file(folder / STEM)
    weights["quant_conv.weight"][0] = float("nan")
    save_file(weights, folder / STEM)


def truncate(folder: Path) -> None:
    path = folder / STEM
    path.write_bytes(path.read_bytes()[:-100])


def make_pickle(folder: Path) -> None:
    (folder / STEM).rename(folder / "diffusion_pytorch_model.bin")


def drop_key(folder: Path) -> None:
    weights = load_file(folder / STEM)
    del weights["decoder.conv_in.weight"]
    save_file(weights, folder / STEM)


def add_key(folder: Path) -> None:
    weights = load_file(folder / STEM)
    save_file({**weights, "decoder.more": torch.zeros(1)}, folder / STEM)


def reshape_key(folder: Path) -> None:
    weights = load_file(folder / STEM)
    save_file({**weights, "quant_conv.bias": torch.zeros(3)}, folder / STEM)


def other_times(folder: Path) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**config, "temperal_downsample": [False, False, True]}), encoding="utf-8")


BAD_VAE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "NaN": (spoil_nan, rf"{STEM}: quant_conv\.weight holds NaN or infinity"),
    "truncated": (truncate, rf"{STEM}: not readable as safetensors"),
    "pickle": (make_pickle, r"diffusion_pytorch_model\.bin: a pickle, which is never opened"),
    "no weights": (lambda f: (f / STEM).unlink(), rf"{STEM}: missing"),
    "no config": (lambda f: (f / "config.json").unlink(), r"config\.json: missing"),
    "config is no JSON": (lambda f: (f / "config.json").write_text("{", encoding="utf-8"), r"config\.json: not JSON"),
    "missing key": (drop_key, r"decoder\.conv_in\.weight is missing \(1 such keys\)"),
    "extra key": (add_key, r"decoder\.more is not of this model"),
    "other shape": (reshape_key, r"quant_conv\.bias is \(3,\), config\.json makes it \(32,\)"),
    "other time factor": (other_times, r"config\.json: temperal_downsample shares a latent between 2 frames"),
}


@pytest.mark.parametrize("fault", BAD_VAE)
def test_a_vae_that_is_not_whole_is_refused_with_its_path(fault: str, vae: Path, tmp_path: Path) -> None:
    spoil, message = BAD_VAE[fault]
    folder = Path(shutil.copytree(vae, tmp_path / "vae"))
    spoil(folder)
    with pytest.raises(BadInput) as refusal:
        codec(folder)
    assert re.search(message, str(refusal.value)), str(refusal.value)
    assert str(folder) in str(refusal.value)


def test_a_path_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"paths\.wan_vae is .*nowhere', which is no folder"):
        codec(tmp_path / "nowhere")
    with pytest.raises(BadInput, match=r"paths\.umt5 is .*nowhere', which is no folder"):
        make_text_encoder(WAN, {"umt5": str(tmp_path / "nowhere")})


def test_text_is_umt5s_last_hidden_state_and_zero_behind_the_caption(umt5: Path) -> None:
    caption = "the old   street with rain &amp;amp; light"
    found = make_text_encoder(WAN, {"umt5": str(umt5)}).encode(caption)
    assert found.shape == (TEXT_TOKENS, TEXT_WIDTH) and found.dtype == np.float32
    tokenizer = AutoTokenizer.from_pretrained(umt5 / "tokenizer")
    twin = UMT5EncoderModel.from_pretrained(umt5 / "text_encoder").eval()
    ids = tokenizer("the old street with rain & light", return_tensors="pt").input_ids  # no padding at all
    with torch.no_grad():
        expected = twin(ids).last_hidden_state[0].numpy()
    assert 6 <= len(expected) < TEXT_TOKENS
    np.testing.assert_allclose(found[: len(expected)], expected, atol=1e-5)
    assert not found[len(expected) :].any()


def test_a_long_caption_is_cut_and_entities_are_resolved(umt5: Path) -> None:
    found = make_text_encoder(WAN, {"umt5": str(umt5)}).encode("rain " * 50)
    assert found.shape == (TEXT_TOKENS, TEXT_WIDTH) and found.any(axis=1).all()
    assert cleaned(" a &amp;amp; b\n\t c ") == "a & b c"


def spoil_text(folder: Path) -> None:
    path = folder / "text_encoder" / "model.safetensors"
    weights = load_file(path)
    weights[next(name for name in weights if "layer_norm" in name)][0] = float("inf")
    save_file(weights, path, metadata={"format": "pt"})


def drop_text(folder: Path) -> None:
    path = folder / "text_encoder" / "model.safetensors"
    weights = load_file(path)
    del weights[next(name for name in weights if "layer_norm" in name)]
    save_file(weights, path, metadata={"format": "pt"})


def truncate_text(folder: Path) -> None:
    path = folder / "text_encoder" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])


BAD_TEXT: dict[str, tuple[Callable[[Path], Any], str]] = {
    "infinity": (spoil_text, r"text_encoder: .*layer_norm\.weight holds NaN or infinity"),
    "missing key": (drop_text, r"text_encoder: .*layer_norm\.weight is missing"),
    "truncated": (truncate_text, r"model\.safetensors: not readable as safetensors"),
    "no tokenizer": (lambda f: shutil.rmtree(f / "tokenizer"), r"tokenizer: missing; paths\.umt5 is a folder"),
    "empty tokenizer": (
        lambda f: [path.unlink() for path in (f / "tokenizer").iterdir()],
        r"not UMT5 and its tokenizer",
    ),
    "pickle": (
        lambda f: (f / "text_encoder/model.safetensors").rename(f / "text_encoder/pytorch_model.bin"),
        r"pytorch_model\.bin: a pickle",
    ),
}


@pytest.mark.parametrize("fault", BAD_TEXT)
def test_a_text_encoder_that_is_not_whole_is_refused_with_its_path(fault: str, umt5: Path, tmp_path: Path) -> None:
    spoil, message = BAD_TEXT[fault]
    folder = Path(shutil.copytree(umt5, tmp_path / "umt5"))
    spoil(folder)
    with pytest.raises(BadInput) as refusal:
        make_text_encoder(WAN, {"umt5": str(folder)})
    assert re.search(message, str(refusal.value)), str(refusal.value)
    assert str(folder) in str(refusal.value)


def test_a_text_width_that_is_not_the_models_is_refused(umt5: Path) -> None:
    with pytest.raises(BadInput, match=r"d_model is 16, controls\.codec\.text_width is 4096"):
        make_text_encoder({**WAN, "text_width": 4096}, {"umt5": str(umt5)})
