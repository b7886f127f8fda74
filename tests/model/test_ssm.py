"""The recurrences against loops over time."""

import pytest
import torch
from torch import Tensor

from workloads.memory.ssm import DecayingState, ShortConvolution, decaying_sum
from workloads.model.initial import initialise

WIDTH = 6


def cell(kind: str) -> DecayingState | ShortConvolution:
    made = DecayingState(WIDTH, (1.0, 128.0), (0.1, 0.2)) if kind == "block-wise" else ShortConvolution(WIDTH, 3, 2)
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


@pytest.mark.parametrize("frames", [1, 2, 9, 29])
def test_the_scan_by_doubling_equals_a_loop(frames: int) -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(2, frames, 3, WIDTH, generator=generator)
    rate = -torch.rand(WIDTH, generator=generator)
    h, slow = torch.zeros(2, 3, WIDTH), []
    for index in range(frames):
        h = rate.exp() * h + inputs[:, index]
        slow.append(h)
    torch.testing.assert_close(decaying_sum(inputs, rate), torch.stack(slow, 1), atol=1e-5, rtol=1e-5)


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
            out, after = made.run(x, start, valid, last=False)
            _, only = made.run(x, start, valid, last=True)
            for sample, lost in enumerate(missing):
                begin = torch.zeros_like(state[sample]) if start is None else start[sample]
                slow, end = stepped(made, x[sample, lost:], begin) if lost < frames else (x[sample, :0], begin)
                torch.testing.assert_close(out[sample, lost:], slow, atol=1e-5, rtol=1e-5)
                torch.testing.assert_close(after[sample], end, atol=1e-5, rtol=1e-5)
                torch.testing.assert_close(only[sample], end, atol=1e-5, rtol=1e-5)
            whole, _ = made.run(x[:1], None if start is None else start[:1], None, last=False)
            torch.testing.assert_close(whole, out[:1], atol=1e-5, rtol=1e-5)


def test_time_constants_start_log_spaced_from_1_to_128_frames() -> None:
    made = DecayingState(8, (1.0, 128.0), (0.1, 0.2))
    initialise(made, 3)
    tau = made.log_tau.detach().exp()
    torch.testing.assert_close(tau, 2.0 ** torch.arange(8), atol=1e-4, rtol=1e-4)


def test_the_share_of_the_residual_is_measured_while_reading() -> None:
    made = cell("block-wise")
    made.run(torch.randn(1, 2, 3, WIDTH), None, None, last=False)
    assert made.share is not None and float(made.share) > 0
