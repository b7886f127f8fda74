"""The Wan 2.1 VAE as a codec, through diffusers, from a folder of this machine (study.md section 4, Codec).

Latents are the mean of the posterior, never a sample, standardised per channel by the means and deviations in the
VAE's config. A clip is encoded causally: its first frame gives a latent, and every four after it another. Evidence
frames are encoded each by itself. Imported only where `controls.codec.kind` is `wan`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file
from torch import Tensor

from workloads.data.frames import displayed
from workloads.data.local_weights import check_finite, check_keys, folder_of, read_config, weight_files
from workloads.runtime.errors import BadInput

PATH = "wan_vae"
TIME_FACTOR = 4
STEM = "diffusion_pytorch_model"
FRAMES_AT_ONCE = 8
"""Frames that are encoded by themselves in one forward; bounds the memory: a frame of 352 x 640 takes about 1 GiB."""


class WanVae:
    """Frames (t, h, w, 3) uint8 to latents ((t - 1) / 4 + 1, c, h / 8, w / 8) float32, and back. Not exact."""

    time_factor = TIME_FACTOR

    def __init__(self, vae: Any, factor: int, device: str) -> None:
        """Take an `AutoencoderKLWan` in float32, on its device."""
        self._vae = vae
        self._device = device
        self._factor = factor
        self.channels = int(vae.config.z_dim)
        shape = (1, self.channels, 1, 1, 1)
        self._mean = torch.tensor(vae.config.latents_mean, dtype=torch.float32, device=device).view(shape)
        self._std = torch.tensor(vae.config.latents_std, dtype=torch.float32, device=device).view(shape)

    def latent_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the latents.

        Raises:
            BadInput: frames that do not divide.
        """
        if height % self._factor or width % self._factor:
            raise BadInput(
                f"controls.data is {height}x{width} pixels, controls.codec.factor is {self._factor}; "
                "height and width must be multiples of the factor"
            )
        return height // self._factor, width // self._factor

    def encode(self, frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """A clip of 4 n + 1 frames, causally, to (n + 1, c, h', w').

        Raises:
            ValueError: another number of frames; the VAE would drop the last ones without a word.
        """
        if (len(frames) - 1) % TIME_FACTOR:
            raise ValueError(f"a clip has 4 n + 1 frames, got {len(frames)}")
        return np.ascontiguousarray(self._encoded(self._pixels(frames).transpose(0, 1)[None])[0].swapaxes(0, 1))

    def encode_each(self, frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Each of (n, h, w, 3) by itself, to (n, c, h', w')."""
        parts = [
            self._encoded(self._pixels(frames[i : i + FRAMES_AT_ONCE])[:, :, None])[:, :, 0]
            for i in range(0, len(frames), FRAMES_AT_ONCE)
        ]
        h, w = self.latent_size(*frames.shape[1:3])
        return np.concatenate(parts) if parts else np.zeros((0, self.channels, h, w), dtype=np.float32)

    def decode(self, latents: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
        """(n + 1, c, h', w') to the clip (4 n + 1, h, w, 3) uint8, clamped and rounded.

        Raises:
            BrokenFrame: values that are no image.
        """
        z = torch.from_numpy(np.ascontiguousarray(latents, dtype=np.float32)).to(self._device)
        with torch.inference_mode(), _plain(self._device):
            pixels = self._vae.decode(z.transpose(0, 1)[None] * self._std + self._mean).sample[0]  # (3, t, h, w)
        return displayed(pixels.permute(1, 2, 3, 0).float().cpu().numpy())

    def _pixels(self, frames: npt.NDArray[np.uint8]) -> Tensor:
        """(t, 3, h, w) in -1..1."""
        values = torch.from_numpy(np.ascontiguousarray(frames)).to(self._device).permute(0, 3, 1, 2)
        return values.float() * (2 / 255) - 1

    def _encoded(self, pixels: Tensor) -> npt.NDArray[np.float32]:
        """(b, 3, t, h, w) to (b, c, t', h', w'), standardised."""
        with torch.inference_mode(), _plain(self._device):
            mean = self._vae.encode(pixels).latent_dist.mode()
            return np.asarray(((mean - self._mean) / self._std).float().cpu().numpy(), dtype=np.float32)


def load_wan_vae(codec_section: Mapping[str, Any], paths: Mapping[str, str], device: str) -> WanVae:
    """The codec of `paths.wan_vae`: the folder `vae/` of a Wan 2.1 in diffusers' layout.

    Raises:
        BadInput: no such folder, diffusers not installed, weights that are a pickle, not whole, not finite or of
            another model, or a VAE whose factors are not those of `controls.codec`.
    """
    what = "the folder `vae/` of Wan 2.1 in diffusers' layout (config.json and safetensors)"
    folder = folder_of(paths, PATH, "controls.codec.kind 'wan'", what)
    try:
        from diffusers import AutoencoderKLWan
    except ImportError as error:
        raise BadInput(
            f"controls.codec.kind is 'wan', which needs diffusers ({error}); "
            "install the extra: pip install 'echo-matrix[wan]'"
        ) from error
    config = read_config(folder)
    try:
        vae = AutoencoderKLWan.from_config(config)
    except (TypeError, ValueError, KeyError, RuntimeError) as error:
        raise BadInput(f"{folder / 'config.json'}: not the config of an AutoencoderKLWan ({error})") from error
    _check_factors(vae.config, int(codec_section["factor"]), folder / "config.json")
    weights: dict[str, Tensor] = {}
    for path in weight_files(folder, STEM):
        read = load_file(path)
        check_finite(read.items(), path)
        weights |= read
    own = vae.state_dict()
    check_keys(own.keys() - weights.keys(), weights.keys() - own.keys(), folder)
    for name, value in own.items():
        if value.shape != weights[name].shape:
            raise BadInput(
                f"{folder}: {name} is {tuple(weights[name].shape)}, config.json makes it {tuple(value.shape)}; "
                "give the weights that belong to its config.json"
            )
    vae.load_state_dict(weights)
    return WanVae(
        vae.to(device=device, dtype=torch.float32).eval().requires_grad_(False), codec_section["factor"], device
    )


def _check_factors(config: Any, factor: int, path: Path) -> None:
    time_factor = 2 ** sum(bool(halved) for halved in config.temperal_downsample)
    space = 2 ** (len(config.dim_mult) - 1) * int(config.patch_size or 1)
    if time_factor != TIME_FACTOR:
        raise BadInput(f"{path}: temperal_downsample shares a latent between {time_factor} frames; allowed: 4, Wan's")
    if space != factor:
        raise BadInput(f"{path}: the VAE shrinks by {space}, controls.codec.factor is {factor}; set it to {space}")
    if len(config.latents_mean) != config.z_dim or len(config.latents_std) != config.z_dim:
        raise BadInput(f"{path}: latents_mean, latents_std need {config.z_dim} numbers each, one a channel")


def _plain(device: str) -> torch.autocast:
    """Float32, whatever the caller computes in: roll-outs call the codec inside their own autocast."""
    return torch.autocast(torch.device(device).type, enabled=False)
