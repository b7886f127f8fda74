"""Stores of places against loops over frames and closed forms, and what a cell is."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_places import Places, cells_of
from torch import Tensor

from workloads.memory.address.place import WorldCells
from workloads.memory.interface import Address, Sizes, StatePass, StateWrite
from workloads.memory.write.convolution_place import ConvolvedPlaces, shifts
from workloads.memory.write.diagonal_place import DecayingPlaces
from workloads.memory.write.places import Visits
from workloads.model.initial import initialise
from workloads.study.memory.address.place import PlaceSpec
from workloads.study.memory.write.convolution_place import ConvolutionPlaceSpec
from workloads.study.memory.write.diagonal_place import DiagonalPlaceSpec

WIDTH, CELLS = 6, (2, 12)
SIZES = Sizes(width=WIDTH, blocks=1, heads=1, rows=4, columns=3, controls={})
TOKENS = SIZES.tokens


def address(cells: tuple[int, int] = CELLS, *, yaw: bool = True) -> WorldCells:
    return WorldCells(PlaceSpec(cells=cells, yaw=yaw), SIZES)


def cell(kind: str) -> DecayingPlaces | ConvolvedPlaces:
    made = (
        DecayingPlaces(DiagonalPlaceSpec(tau=(1.0, 128.0), rho=(0.1, 0.2), cells=CELLS), SIZES)
        if kind == "diagonal"
        else ConvolvedPlaces(ConvolutionPlaceSpec(kernel=4, expand=2, cells=CELLS), SIZES)
    )
    initialise(made, 0)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if not parameter.any():
                parameter.normal_(0, 0.5, generator=torch.Generator().manual_seed(len(name)))
    return made


def poses(yaw: Tensor) -> Tensor:
    """Poses (b, f, 12) of cameras with `yaw` (b, f) in radians."""
    made = torch.zeros(*yaw.shape, 12)
    made[..., 0] = made[..., 4] = yaw.cos()
    made[..., 1], made[..., 3] = -yaw.sin(), yaw.sin()
    made[..., 8] = 1
    return made


def wrote(made: StateWrite, x: Tensor, state: Tensor | None, looks: Tensor, valid: Tensor | None = None) -> Tensor:
    out, after = made.run(x, state, StatePass(address=address(), looks=looks, valid=valid, writes=True))
    assert out is x  # evidence reads nothing
    return after


def read(made: StateWrite, x: Tensor, state: Tensor, looks: Tensor) -> Tensor:
    out, after = made.run(x, state, StatePass(address=address(), looks=looks, writes=False))
    assert after is state  # target frames write nothing
    return out


def looped(made: DecayingPlaces | ConvolvedPlaces, x: Tensor, yaw: Tensor) -> Places:
    """One sample (f, n, d), frame by frame."""
    registers = made.kernel - 1 if isinstance(made, ConvolvedPlaces) else 0
    decay = torch.exp(-1 / made.log_tau.double().exp()) if isinstance(made, DecayingPlaces) else None
    store = Places(CELLS[0], CELLS[1], registers)
    for frame, angle in zip(x, yaw, strict=True):
        y = made.norm(frame)
        tokens = made.project(y).chunk(2, -1)[0].tanh() if isinstance(made, DecayingPlaces) else made.widen(y)
        store.write(float(angle), tokens.view(SIZES.rows, SIZES.columns, -1).double(), decay)
    return store


def dense(store: Places, like: Tensor) -> Tensor:
    """The store as a state of one sample."""
    made = torch.zeros(max(1, store.registers), *like.shape[-3:], dtype=torch.float64)
    for (row, at), place in store.cells.items():
        for register, (value, count) in enumerate(zip(place.values, place.counts, strict=True)):
            made[register, row, at] = torch.cat([value, torch.tensor([count])])
    return made if store.registers else made[0]


@pytest.mark.parametrize("kind", ["diagonal", "convolution"])
def test_what_is_written_equals_a_loop_with_and_without_missing_frames(kind: str) -> None:
    made, generator = cell(kind), torch.Generator().manual_seed(1)
    frames, missing = 9, [0, 3, 9]
    x = torch.randn(3, frames, TOKENS, WIDTH, generator=generator)
    yaw = (torch.rand(3, frames, generator=generator) - 0.5) * 5
    valid = torch.arange(frames)[None] >= torch.tensor(missing)[:, None]
    with torch.no_grad():
        state = wrote(made, x, None, address().looks(poses(yaw)), valid)
        assert state.shape == made.state_shape(3, TOKENS)
        for sample, lost in enumerate(missing):
            slow = dense(looped(made, x[sample, lost:], yaw[sample, lost:]), state[sample])
            torch.testing.assert_close(state[sample].double(), slow, atol=1e-5, rtol=1e-4)


@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.integers(0, 2**16))
@settings(max_examples=20, deadline=None)
def test_writing_in_any_pieces_equals_writing_at_once(pieces: list[int], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2, sum(pieces), TOKENS, WIDTH, generator=generator)
    looks = address().looks(poses((torch.rand(2, sum(pieces), generator=generator) - 0.5) * 6.2))
    for kind in ("diagonal", "convolution"):
        made = cell(kind)
        with torch.no_grad():
            state = None
            for part, seen in zip(x.split(pieces, 1), looks.split(pieces, 1), strict=True):
                state = wrote(made, part, state, seen)
            assert state is not None
            torch.testing.assert_close(state, wrote(made, x, None, looks), atol=2e-6, rtol=1e-4)


@pytest.mark.parametrize("frames", [1, 2, 30])
def test_a_place_that_does_not_change_is_read_as_it_is_however_often_it_was_seen(frames: int) -> None:
    """The division undoes that slow channels have hardly begun to fill; without it they would be read as empty."""
    made = cell("diagonal")
    assert isinstance(made, DecayingPlaces)
    token = torch.randn(1, 1, 1, WIDTH, generator=torch.Generator().manual_seed(0))
    x = token.expand(1, frames, TOKENS, WIDTH)
    looks = address().looks(poses(torch.full((1, frames), 0.3)))
    with torch.no_grad():
        state = wrote(made, x, None, looks)
        found = made._read(state, looks[:, :1])
        u = made.project(made.norm(token)).chunk(2, -1)[0].tanh()
    torch.testing.assert_close(found, u.expand(1, 1, TOKENS, WIDTH), atol=1e-5, rtol=1e-4)
    raw, count = state[..., :-1], state[..., -1:]
    assert float(count.max()) == pytest.approx(frames, rel=0.5)
    seen = raw[0, 0, count[0, 0, :, 0].argmax()]
    assert float((seen / u[0, 0, 0]).abs().detach()[-1]) < 1.2 * frames / 128  # its slowest channel


def test_a_register_holds_the_newest_visit_and_those_before_it_in_their_order() -> None:
    """With masses of 1, a shift by one: what a short convolution has at a location."""
    mass = torch.ones(1, 5, 2)
    kept, whole = shifts(mass, 3)
    assert torch.equal(kept[0, :, 0], torch.tensor([[0.0, 0, 0], [0, 0, 0], [0, 0, 1], [0, 1, 0], [1, 0, 0]]))
    assert not whole.any()  # what was there before is gone


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_shifts_by_fractions_are_those_of_a_loop(masses: list[float], registers: int) -> None:
    kept, whole = shifts(torch.tensor(masses, dtype=torch.float64).view(1, -1, 1), registers)
    for frame in range(len(masses) + 1):  # the last is the shift of what was there before all
        content = [1.0] + [0.0] * (registers - 1)
        for m in masses if frame == len(masses) else masses[frame + 1 :]:
            content = [(1 - m) * content[j] + (m * content[j - 1] if j else 0) for j in range(registers)]
        found = whole[0, 0] if frame == len(masses) else kept[0, frame, 0]
        torch.testing.assert_close(found, torch.tensor(content, dtype=torch.float64), atol=1e-12, rtol=0)


@pytest.mark.parametrize("columns", [1, 3, 8])
@pytest.mark.parametrize("count", [2, 12, 28])
def test_the_weights_of_a_look_are_linear_between_two_cells_without_a_seam(columns: int, count: int) -> None:
    made = WorldCells(
        PlaceSpec(cells=(1, count)), Sizes(width=6, blocks=1, heads=1, rows=1, columns=columns, controls={})
    )
    yaw = torch.linspace(-math.pi, math.pi, 41, dtype=torch.float64).float()
    looks = made.looks(poses(yaw[None]))
    torch.testing.assert_close(looks.sum(-1), torch.ones(1, 41, columns))
    torch.testing.assert_close(looks[:, 0], looks[:, -1], atol=1e-5, rtol=0)  # -180 and +180 degrees
    for frame in (0, 7, 20, 33):
        slow = cells_of(float(yaw[frame]), columns, count)
        expected = torch.tensor([[look.get(p, 0.0) for p in range(count)] for look in slow])
        torch.testing.assert_close(looks[0, frame], expected, atol=2e-5, rtol=0)
    nearby = made.looks(poses(yaw[None] + 1e-4))
    assert float((nearby - looks).abs().max()) < 2e-3


def test_a_frame_writes_as_much_as_its_columns_cover_and_at_most_once() -> None:
    looks = torch.tensor([[[[0.25, 0.75, 0.0], [0.0, 0.5, 0.5]]]])  # two columns, three cells
    visits = Visits.of(looks, None)
    assert visits.mass.tolist() == [[[0.25, 1.0, 0.5]]]
    torch.testing.assert_close(visits.share[0, 0], torch.tensor([[1.0, 0.6, 0.0], [0.0, 0.4, 1.0]]))
    nothing = Visits.of(looks, torch.tensor([[False]]))
    assert not nothing.mass.any() and not nothing.share.any()


@pytest.mark.parametrize("kind", ["diagonal", "convolution"])
def test_what_was_seen_too_little_is_not_read(kind: str) -> None:
    made, x = cell(kind), torch.randn(1, 1, TOKENS, WIDTH, generator=torch.Generator().manual_seed(2))
    looks = address().looks(poses(torch.zeros(1, 1)))
    with torch.no_grad():
        state = wrote(made, x, None, looks)
        empty = torch.zeros_like(state)
        nothing = read(made, x, empty, looks)
        for count in (0.0, 1e-3):
            state[..., -1] = count
            assert torch.equal(read(made, x, state, looks), nothing)
        state[..., -1] = 2e-3
        assert not torch.allclose(read(made, x, state, looks), nothing)


def test_what_is_passed_on_is_found_again_where_it_was_seen() -> None:
    """A frame written and read at one place: only the cells that it looks at are met, and both kinds find it."""
    for kind in ("diagonal", "convolution"):
        made, generator = cell(kind), torch.Generator().manual_seed(4)
        x = torch.randn(1, 2, TOKENS, WIDTH, generator=generator)
        yaw = torch.tensor([[0.0, math.pi]])
        looks = address().looks(poses(yaw))
        with torch.no_grad():
            both = wrote(made, x, None, looks)
            first = wrote(made, x[:, :1], None, looks[:, :1])
            torch.testing.assert_close(
                read(made, x[:, :1], both, looks[:, :1]), read(made, x[:, :1], first, looks[:, :1]), atol=1e-6, rtol=0
            )


def test_the_address_without_yaw_sees_all_frames_alike() -> None:
    looks = address(yaw=False).looks(poses(torch.linspace(-3, 3, 7)[None]))
    assert torch.equal(looks, looks[:, :1].expand_as(looks))
    assert isinstance(address(), Address) and address().outlives
