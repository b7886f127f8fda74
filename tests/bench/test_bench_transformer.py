"""A training step of our backbone against diffusers' WanTransformer3DModel; `make bench` prints the ratio.

Both have the same weights, input, loss, optimiser and loop, and take steps in turn. Of Wan 2.1 1.3B's sizes only
the depth is less. The same four frames go through both, three of the target and the anchor; our last block makes
nothing of the anchor but keys and values, which weighs more in two blocks than in thirty: the line under the ratio
says how much of it is that, by matrix FLOPs.
"""

import os
from collections.abc import Callable

import pytest
import torch
from timing import alternating, say
from tiny_wan import Case, Given, given, ours, save, theirs
from torch import Tensor, nn

from workloads.memory.interface import Slots
from workloads.model.cost import flops_denoise
from workloads.model.wan import load_wan
from workloads.model.world_model import WorldModel

pytestmark = pytest.mark.bench

CASE = Case(
    width=1536, heads=12, blocks=2, feed_forward=8960, frequency_width=256, channels=16, rows=15, columns=26, frames=3,
    text_tokens=512, text_width=4096, batch=1,
)  # fmt: skip
TOKENS = (CASE.frames + 1) * CASE.rows * CASE.columns
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
TIMES = 20 if DEVICE == "cuda" else 3
PARITY = 1e-3
"""Of outputs around 4, at full width: sums of 8,960 products in another order."""

Predict = Callable[[], Tensor]


def make_step(model: nn.Module, predict: Predict, target: Tensor) -> Callable[[], None]:
    """Forward, backward and AdamW, as the study trains: bfloat16 by autocast on a GPU, float32 on a CPU."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-5, betas=(0.9, 0.999), weight_decay=0.01, fused=True)

    def step() -> None:
        with torch.autocast("cuda", torch.bfloat16, enabled=DEVICE == "cuda"):
            loss = (predict().float() - target).square().mean()
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        if DEVICE == "cuda":
            torch.cuda.synchronize()

    return step


def on_device(inputs: Given) -> Given:
    return Given(**{name: tensor.to(DEVICE) for name, tensor in vars(inputs).items()})


def share_of_flops(model: WorldModel) -> float:
    """Matrix FLOPs of ours over those of a model that computes the anchor in the last block too."""
    n, d = CASE.rows * CASE.columns, CASE.width
    attention = 4 * n * TOKENS * d + 2 * n * d * d
    rest = 4 * n * d * d + 4 * n * CASE.text_tokens * d + 4 * n * d * CASE.feed_forward
    mine = flops_denoise(model, CASE.batch, 1)
    return mine / (mine + CASE.batch * (attention + rest + 2 * n * d * 4 * CASE.channels))


@pytest.fixture
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[WorldModel, nn.Module]:
    """Ours and theirs with the same weights; new ones each time, for steps take them apart."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    peer, model = theirs(CASE), ours(CASE)
    load_wan(model, str(save(tmp_path_factory.mktemp("wan"), dict(peer.state_dict()))))
    return model.to(DEVICE), peer.to(DEVICE)


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_a_training_step_against_diffusers(pair: tuple[WorldModel, nn.Module], compiled: bool) -> None:
    model, peer = (torch.compile(each) if compiled else each for each in pair)
    inputs = on_device(given(CASE))
    mine, other = inputs.ours(), inputs.theirs()
    slots = mine["slots"]
    mine |= {
        "actions": mine["actions"].to(DEVICE),
        "slots": Slots(slots.latents.to(DEVICE), slots.actions.to(DEVICE), slots.valid.to(DEVICE)),
    }

    def predict() -> Tensor:
        v: Tensor = model(**mine)
        return v

    def predict_peer() -> Tensor:
        v: Tensor = peer(**other, return_dict=False)[0]
        return v[:, :, : CASE.frames].transpose(1, 2)

    target = torch.randn(inputs.noisy.shape, generator=torch.Generator().manual_seed(4)).to(DEVICE)
    with torch.no_grad():
        assert (predict().float() - predict_peer().float()).abs().max() < PARITY
    steps = [make_step(pair[0], predict, target), make_step(pair[1], predict_peer, target)]
    alternating(steps, 1)  # the first pays for moments, tables and compilers
    mine_s, peer_s = alternating(steps, TIMES)
    how = "compiled" if compiled else "eager"
    say(f"training step, {TOKENS} tokens, {DEVICE}, {how}", mine_s, peer_s, "diffusers", group="computing")
    print(f"ours / diffusers: {mine_s / peer_s:.3f} of its time with {share_of_flops(pair[0]):.3f} of its matrix FLOPs")
