"""The recurrences against loops over time and closed forms."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from workloads.memory.interface import Address, Sizes, StatePass
from workloads.memory.write.convolution import ShortConvolution
from workloads.memory.write.diagonal import DecayingState, _final, decaying_sum
from workloads.model.initial import initialise
from workloads.study.memory.address.none import NoAddressSpec
from workloads.study.memory.write.convolution import ConvolutionSpec
from workloads.study.memory.write.diagonal import DiagonalSpec

WIDTH = 6
SIZES = Sizes(width=WIDTH, blocks=1, heads=1, rows=1, columns=1, controls={})
NOWHERE = Address(NoAddressSpec(), SIZES)


def ran(made: DecayingState | ShortConvolution, x: Tensor, state: Tensor | None, last: bool) -> tuple[Tensor, Tensor]:
    return made.run(x, state, StatePass(address=NOWHERE, looks=None, writes=False, last=last))


def cell(kind: str) -> DecayingState | ShortConvolution:
    made = (
        DecayingState(DiagonalSpec(tau=(1.0, 128.0), rho=(0.1, 0.2)), SIZES)
        if kind == "block-wise"
        else ShortConvolution(ConvolutionSpec(kernel=3, expand=2), SIZES)
    )
    initialise(made, 0)
    with torch.no_grad():
        made.out.weight.normal_(generator=torch.Generator().manual_seed(0)) if kind == "block-wise" else None
        if isinstance(made, ShortConvolution):
            made.gate.fill_(0.5)
    return made


def stepped(made: DecayingState | ShortConvolution, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """One sample (f, n, d), frame by frame, from the definition."""
    rows = []
    for frame in x:
        y = made.norm(frame)
        if isinstance(made, DecayingState):
            a = torch.exp(-1 / made.log_tau.exp())
            u, o = made.project(y).chunk(2, -1)
            state = a * state + (1 - a) * u.tanh()
            rho = made.rho[0] + (made.rho[1] - made.rho[0]) * made.weight_logit.sigmoid()
            rows.append(frame + rho * made.out(state * o.sigmoid()))
        else:
            window = torch.cat([state, made.widen(y)[None]])
            mixed = (made.taps[:, None] * window).sum(0) + made.bias
            rows.append(frame + made.gate.tanh() * made.narrow(mixed))
            state = window[1:]
    return torch.stack(rows), state


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("frames", range(1, 41))
def test_the_scan_by_doubling_equals_a_loop_forward_and_backward(frames: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(frames)
    inputs = torch.randn(2, frames, 3, WIDTH, generator=generator, dtype=dtype).requires_grad_()
    rate = (-torch.rand(WIDTH, generator=generator, dtype=dtype)).requires_grad_()
    pull = torch.randn(2, frames, 3, WIDTH, generator=generator, dtype=dtype)
    h, slow = torch.zeros(2, 3, WIDTH, dtype=dtype), []
    for index in range(frames):
        h = rate.exp() * h + inputs[:, index]
        slow.append(h)
    fast, loop = decaying_sum(inputs, rate), torch.stack(slow, 1)
    error = 1e-12 if dtype == torch.float64 else 2e-5
    torch.testing.assert_close(fast, loop, atol=error, rtol=error)
    torch.testing.assert_close(_final(inputs, rate), loop[:, -1], atol=error, rtol=error)
    found = torch.autograd.grad((fast * pull).sum(), (inputs, rate), retain_graph=True, materialize_grads=True)
    expected = torch.autograd.grad((loop * pull).sum(), (inputs, rate), materialize_grads=True)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=20 * error, rtol=20 * error)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5))
@settings(max_examples=30, deadline=None)
def test_a_recurrence_in_any_pieces_equals_the_recurrence_at_once(pieces: list[int]) -> None:
    x = torch.randn(2, sum(pieces), 3, WIDTH, generator=torch.Generator().manual_seed(len(pieces)))
    for kind in ("block-wise", "hybrid"):
        made = cell(kind)
        with torch.no_grad():
            whole, end = ran(made, x, None, last=False)
            state, parts = None, []
            for part in x.split(pieces, 1):
                out, state = ran(made, part, state, last=False)
                parts.append(out)
        assert state is not None
        torch.testing.assert_close(torch.cat(parts, 1), whole, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(state, end, atol=1e-5, rtol=1e-5)


def test_a_constant_input_fills_the_state_as_one_minus_the_decay_to_the_frames() -> None:
    """h_t = (1 - a^t) tanh(u): after tau frames 63 % of it, whatever tau."""
    made = DecayingState(DiagonalSpec(tau=(1.0, 32.0), rho=(0.1, 0.2)), SIZES)
    initialise(made, 0)
    frame = torch.randn(1, 1, 2, WIDTH, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        u, _ = made.project(made.norm(frame)).chunk(2, -1)
        for frames in (1, 2, 7, 32):
            _, state = ran(made, frame.expand(1, frames, 2, WIDTH), None, last=True)
            tau = made.log_tau.exp()
            torch.testing.assert_close(state, (1 - torch.exp(-frames / tau)) * u[:, 0].tanh(), atol=1e-6, rtol=1e-5)
    assert float(made.log_tau.detach()[-1].exp()) == pytest.approx(32.0)
    assert float((state[0, 0, -1] / u[0, 0, 0, -1].tanh()).detach()) == pytest.approx(1 - math.exp(-1), rel=1e-5)


def test_without_new_input_a_channel_keeps_exp_of_minus_one_after_its_tau() -> None:
    made = DecayingState(DiagonalSpec(tau=(1.0, 32.0), rho=(0.1, 0.2)), SIZES)
    initialise(made, 0)
    with torch.no_grad():
        made.project.weight.zero_()
        _, state = ran(made, torch.ones(1, 32, 2, WIDTH), torch.ones(1, 2, WIDTH), last=True)
    assert float(state[0, 0, -1]) == pytest.approx(math.exp(-1), rel=1e-5)
    assert float(state[0, 0, 0]) == pytest.approx(math.exp(-32), rel=1e-4)


def test_the_convolution_weighs_its_three_last_inputs_the_newest_by_the_last_tap() -> None:
    made = cell("hybrid")
    assert isinstance(made, ShortConvolution)
    x = torch.randn(1, 5, 2, WIDTH, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        made.bias.normal_(generator=torch.Generator().manual_seed(1))
        inputs = made.widen(made.norm(x))
        out, state = ran(made, x, None, last=False)
        for frame in range(5):
            for location in range(2):
                mixed = made.bias.clone()
                for back in range(3):
                    if frame - back >= 0:
                        mixed += made.taps[2 - back] * inputs[0, frame - back, location]
                expected = x[0, frame, location] + math.tanh(0.5) * made.narrow(mixed)
                torch.testing.assert_close(out[0, frame, location], expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(state, inputs[:, -2:])
    assert state.shape == made.state_shape(1, 2)


def test_every_place_and_channel_of_the_state_lives_for_itself() -> None:
    for kind in ("block-wise", "hybrid"):
        made = cell(kind)
        x = torch.randn(1, 4, 3, WIDTH, generator=torch.Generator().manual_seed(0))
        moved = x.clone()
        moved[:, :, 1] += 1 + torch.arange(WIDTH)  # a plain constant would be lost in the norm
        with torch.no_grad():
            (out, state), (other, after) = (ran(made, y, None, last=False) for y in (x, moved))
        assert torch.equal(out[:, :, [0, 2]], other[:, :, [0, 2]])
        kept = (state - after).abs().amax(tuple(d for d in range(state.dim()) if d != state.dim() - 2))
        assert kept[0] == 0 and kept[2] == 0 and kept[1] > 0


@pytest.mark.parametrize("logit", [-50.0, -1.0, 0.0, 1.0, 50.0])
def test_the_residuals_weight_stays_within_its_bounds_whatever_is_learned(logit: float) -> None:
    made = cell("block-wise")
    assert isinstance(made, DecayingState)
    with torch.no_grad():
        made.weight_logit.fill_(logit)
    rho = made.readings()["rho"]
    assert 0.1 <= rho <= 0.2 + 1e-7
    assert rho == pytest.approx(0.1 + 0.1 / (1 + math.exp(-logit)))


def test_the_block_wise_row_reads_nothing_at_its_start_and_15_in_100_of_what_it_will() -> None:
    made = DecayingState(DiagonalSpec(tau=(1.0, 128.0), rho=(0.1, 0.2)), SIZES)
    initialise(made, 0)
    assert not made.out.weight.any() and not made.out.bias.any()
    assert made.readings()["rho"] == pytest.approx(0.15)


def test_states_are_float32_when_the_rest_is_computed_in_bfloat16() -> None:
    for kind in ("block-wise", "hybrid"):
        made, x = cell(kind), torch.randn(1, 4, 2, WIDTH, generator=torch.Generator().manual_seed(0))
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
            out, state = ran(made, x, None, last=False)
        assert out.dtype == state.dtype == torch.float32


@pytest.mark.parametrize("width", [8, 64, 1536])
def test_time_constants_start_in_equal_ratios_between_the_bounds(width: int) -> None:
    made = DecayingState(DiagonalSpec(tau=(1.0, 128.0), rho=(0.1, 0.2)), replace(SIZES, width=width))
    initialise(made, 0)
    tau = made.log_tau.detach().double().exp()
    assert float(tau[0]) == pytest.approx(1.0) and float(tau[-1]) == pytest.approx(128.0, rel=1e-5)
    ratios = tau[1:] / tau[:-1]
    torch.testing.assert_close(ratios, ratios[:1].expand_as(ratios), atol=0, rtol=1e-5)


@pytest.mark.parametrize("kind", ["block-wise", "hybrid"])
def test_a_recurrence_equals_its_loop_with_and_without_missing_frames(kind: str) -> None:
    made, generator = cell(kind), torch.Generator().manual_seed(1)
    frames, tokens = 7, 3
    x = torch.randn(4, frames, tokens, WIDTH, generator=generator)
    state = torch.randn(made.state_shape(4, tokens), generator=generator)
    missing = [0, 3, 6, 7]
    valid = torch.arange(frames)[None] >= torch.tensor(missing)[:, None]
    with torch.no_grad():
        for start in (state, None):
            out, after = made.run(x, start, StatePass(address=NOWHERE, looks=None, valid=valid, writes=True))
            _, only = made.run(x, start, StatePass(address=NOWHERE, looks=None, valid=valid, writes=True, last=True))
            for sample, lost in enumerate(missing):
                begin = torch.zeros_like(state[sample]) if start is None else start[sample]
                slow, end = stepped(made, x[sample, lost:], begin) if lost < frames else (x[sample, :0], begin)
                torch.testing.assert_close(out[sample, lost:], slow, atol=1e-5, rtol=1e-5)
                torch.testing.assert_close(after[sample], end, atol=1e-5, rtol=1e-5)
                torch.testing.assert_close(only[sample], end, atol=1e-5, rtol=1e-5)
            whole, _ = ran(made, x[:1], None if start is None else start[:1], last=False)
            torch.testing.assert_close(whole, out[:1], atol=1e-5, rtol=1e-5)


def test_the_share_of_the_residual_is_measured_while_reading() -> None:
    made = cell("block-wise")
    ran(made, torch.randn(1, 2, 3, WIDTH), None, last=False)
    assert made.share is not None and float(made.share) > 0
