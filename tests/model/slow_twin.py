"""The world model a second time, from study.md sections 3 to 5: one sample, float64, lists and loops.

Nothing of `workloads` computes here: only the parameters of a model, by name, are shared. Evidence is a list
of what is there, so a mask, a padding and a batch do not exist, and a slot is counted from the list's end.
"""

import math
from collections.abc import Sequence
from typing import Any

import slow_address
import torch
from slow_address import Spot, spots, unit
from slow_cameras import LEVEL, bearing, depth_turns, image_of_world, matrix_pairs, multiplied, whole_turns
from slow_compress import Seen, compressed
from slow_places import Places, yaw_of
from torch import Tensor

from workloads.study.memory.base import MemoryRow
from workloads.study.memory.compress import Compress
from workloads.study.memory.context import Context
from workloads.study.memory.spatial import Spatial
from workloads.study.memory.ssm import Ssm

EPSILON = 1e-6
NORM_EPSILON = 1e-5
"""Of a mechanism's own layer norms."""


def normed(x: Tensor, epsilon: float = EPSILON) -> Tensor:
    mean = x.mean(-1, keepdim=True)
    return (x - mean) / ((x - mean).square().mean(-1, keepdim=True) + epsilon).sqrt()


def root_mean_square_normed(x: Tensor, weight: Tensor) -> Tensor:
    return weight * x / (x.square().mean(-1, keepdim=True) + EPSILON).sqrt()


def gelu(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


Found = tuple[Tensor, Sequence[Spot], Sequence[Spot], int]
"""Stored tokens that an address finds, where they are, where those look that ask, and columns."""


class Twin:
    """One sample through the parameters of a model."""

    def __init__(
        self, parameters: dict[str, Tensor], row: MemoryRow, site: str, heads: int, every: int, grid: int
    ) -> None:
        self.p, self.row, self.site, self.heads, self.grid = parameters, row, site, heads, grid
        self.address = row.address if isinstance(row, Context | Compress) else "none"
        """Of frames in self-attention."""
        self.blocks = 1 + max(int(name.split(".")[1]) for name in parameters if name.startswith("blocks."))
        self.recurrent = list(range(0, self.blocks, every))

    def linear(self, name: str, x: Tensor) -> Tensor:
        return x @ self.p[f"{name}.weight"].T + self.p[f"{name}.bias"]

    def affine(self, name: str, x: Tensor, epsilon: float) -> Tensor:
        return normed(x, epsilon) * self.p[f"{name}.weight"] + self.p[f"{name}.bias"]

    def tokens(self, latent: Tensor) -> Tensor:
        """(n, d): patches of 2 x 2, row by row."""
        _, height, width = latent.shape
        patches = [
            latent[:, top : top + 2, left : left + 2].reshape(-1)
            for top in range(0, height, 2)
            for left in range(0, width, 2)
        ]
        return self.linear("patch_embedding", torch.stack(patches))

    def latent(self, values: Tensor, like: Tensor) -> Tensor:
        c, height, width = like.shape
        out, place = torch.empty_like(like), 0
        for top in range(0, height, 2):
            for left in range(0, width, 2):
                out[:, top : top + 2, left : left + 2] = values[place].view(c, 2, 2)
                place += 1
        return out

    def modulations(self, timestep: Tensor) -> tuple[Tensor, Tensor]:
        """The embedded timestep (d,) and its six vectors (6, d)."""
        half = self.p["time_embedding.0.weight"].shape[1] // 2
        angles = torch.stack([timestep / 10000 ** (i / half) for i in range(half)])
        y = self.linear("time_embedding.0", torch.cat([angles.cos(), angles.sin()]))
        embedded = self.linear("time_embedding.2", y * torch.sigmoid(y))
        return embedded, self.linear("time_projection", embedded * torch.sigmoid(embedded)).view(6, -1)

    def turned(
        self, x: Tensor, positions: Sequence[tuple[int, int, int]], poses: Sequence[Tensor], columns: int
    ) -> Tensor:
        """`x` (l, d): in every head, pairs of channels turned by time, row and column, or by an address."""
        e = x.shape[1] // self.heads
        space = 2 * (e // 6)
        turns = []
        for at, pose in zip(positions, poses, strict=True):
            turn = [
                at[axis] / 10000 ** (2 * pair / wide)
                for axis, wide in enumerate((e - 2 * space, space, space))
                for pair in range(wide // 2)
            ]
            if self.address != "none":
                theta = bearing(pose, at[2], columns)
                turn[e // 2 - space // 2 :] = [m * theta for m in whole_turns(space // 2, columns)]
            if self.address == "depths":
                own = matrix_pairs(e)
                turn[own.start : own.stop] = depth_turns(pose, bearing(pose, at[2], columns), len(own), columns)
            if self.address == "ray":
                turn = [0 if pair in matrix_pairs(e) else angle for pair, angle in enumerate(turn)]
            turns.append(turn)
        angles = torch.tensor(turns, dtype=x.dtype).repeat(1, self.heads)
        a, b = x[:, 0::2], x[:, 1::2]
        return torch.stack([a * angles.cos() - b * angles.sin(), a * angles.sin() + b * angles.cos()], -1).flatten(1)

    def attended(
        self, query: Tensor, key: Tensor, value: Tensor, weights: Tensor, other: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        """Softmax attention (l, d) in which key j counts `weights[j]` times, head by head.

        `other`: queries, and keys for the last of the values, which meet each other alone.
        """
        e, heads = query.shape[1] // self.heads, []
        for head in range(self.heads):
            mine = slice(head * e, (head + 1) * e)
            logits = query[:, mine] @ key[:, mine].T
            if other is not None:
                logits = torch.cat([logits, other[0][:, mine] @ other[1][:, mine].T], 1)
            strength = weights * torch.exp(logits / math.sqrt(e))
            heads.append(strength / strength.sum(1, keepdim=True) @ value[:, mine])
        return torch.cat(heads, 1)

    def self_attention(
        self,
        index: int,
        x: Tensor,
        positions: Sequence[tuple[int, int, int]],
        poses: Sequence[Tensor],
        weights: Tensor,
        columns: int,
    ) -> Tensor:
        name = f"blocks.{index}.self_attention"
        q, k, v = self.linear(f"{name}.qkv", x).chunk(3, -1)
        q, k = (root_mean_square_normed(y, w) for y, w in zip((q, k), self.p[f"{name}.norm_qk"], strict=True))
        q, k = (self.turned(y, positions, poses, columns) for y in (q, k))
        if self.address != "ray":
            return self.linear(f"{name}.out", self.attended(q, k, v, weights))
        rows, seen = (
            1 + max(row for _, row, _ in positions),
            dict(zip((t for t, _, _ in positions), poses, strict=True)),
        )
        cameras = {frame: image_of_world(pose, columns / rows) for frame, pose in seen.items()}
        back = {frame: torch.linalg.inv(camera) for frame, camera in cameras.items()}
        image, world = ([matrices[t] for t, _, _ in positions] for matrices in (cameras, back))
        q, k = multiplied(q, self.heads, [matrix.T for matrix in image]), multiplied(k, self.heads, world)
        y = self.attended(q, k, multiplied(v, self.heads, world), weights)
        return self.linear(f"{name}.out", multiplied(y, self.heads, image))

    def with_attention(
        self, index: int, x: Tensor, six: Tensor, actions: Tensor, weights: Tensor, columns: int
    ) -> Tensor:
        """`x` (f, n, d) after self-attention among all its frames, the action at the site's place."""
        f, n, d = x.shape
        shift, scale, gate = six[:3]
        a = actions @ self.p[f"blocks.{index}.action.weight"].T + self.p[f"blocks.{index}.action.bias"]
        a = a[:, None]  # (f, 1, d)
        positions = [(t, place // columns, place % columns) for t in range(f) for place in range(n)]
        poses = [pose if getattr(self.row, "yaw", True) else LEVEL for pose in actions for _ in range(n)]

        def attention(y: Tensor) -> Tensor:
            flat, many = y.reshape(f * n, d), weights.repeat_interleave(n)
            out = self.self_attention(index, flat, positions, poses, many, columns)
            return out.view(f, n, d)

        def m(y: Tensor) -> Tensor:
            return y * (1 + scale) + shift

        if self.site == "post_attention":
            return x + gate * (attention(m(normed(x))) + a)
        if self.site == "pre_norm":
            return x + gate * attention(m(normed(x + a)))
        if self.site == "pre_qkv":
            return x + gate * attention(m(normed(x)) + a)
        assert self.site == "pre_qkv_gated"
        return x + gate * attention(m(normed(x)) + torch.tanh(self.p[f"blocks.{index}.action.gate"]) * a)

    def by_address(self, x: Tensor, at: Sequence[Spot], columns: int) -> Tensor:
        """`x` (l, d) turned in every head to where its tokens look."""
        return torch.cat([slow_address.turned(head, at, columns) for head in x.chunk(self.heads, -1)], -1)

    def with_text(self, index: int, x: Tensor, words: Tensor, found: Found | None = None) -> Tensor:
        name = f"blocks.{index}.text_attention"
        flat = self.affine(f"blocks.{index}.text_norm", x, EPSILON).flatten(0, 1)
        query = root_mean_square_normed(self.linear(f"{name}.query", flat), self.p[f"{name}.norm_query"])
        k, v = self.linear(f"{name}.key_value", words).chunk(2, -1)
        key = root_mean_square_normed(k, self.p[f"{name}.norm_key"])
        other = None
        if found is not None:
            stored, places, at, columns = found
            more, values = self.linear(f"{name}.key_value", stored).chunk(2, -1)
            more = root_mean_square_normed(more, self.p[f"{name}.norm_key"])
            other = self.by_address(query, at, columns), self.by_address(more, places, columns)
            v = torch.cat([v, values])
        return x + self.linear(f"{name}.out", self.attended(query, key, v, torch.ones(len(v)), other)).view_as(x)

    def with_feed_forward(self, index: int, x: Tensor, six: Tensor) -> Tensor:
        shift, scale, gate = six[3:]
        y = self.linear(f"blocks.{index}.widen", normed(x) * (1 + scale) + shift)
        return x + gate * self.linear(f"blocks.{index}.narrow", gelu(y))

    def matrix(
        self, index: int, x: Tensor, state: Tensor | None, yaw: float, columns: int, *, writes: bool
    ) -> tuple[Tensor, Tensor]:
        """One frame (n, d), which looks along `yaw`, through the matrix of block `index`."""
        assert isinstance(self.row, Ssm)
        name = f"mechanism.cells.{index}."
        own = {key.removeprefix(name): value for key, value in self.p.items() if key.startswith(name)}
        rows = len(x) // columns
        at = spots([LEVEL], rows, columns, yaw)
        if self.row.address == "learned":
            told = torch.tensor([[math.cos(b), math.sin(b), (r + 0.5) / rows] for r, b in at], dtype=x.dtype)
            hidden = gelu(self.linear("mechanism.address.widen", told))
            places = {"added": self.linear("mechanism.address.out", hidden)}
        else:
            units = torch.eye(x.shape[1] // self.heads, dtype=x.dtype)
            turns = [slow_address.turned(units, [spot] * len(units), columns).T for spot in at]
            places = {"turn": torch.stack(turns)}
        y = self.affine(f"{name}norm", x, NORM_EPSILON)
        read, after = slow_address.stepped(own, y, state, places, delta=self.row.state == "delta", writes=writes)
        return x + self.linear(f"{name}out", read), after

    def stepped(
        self, index: int, x: Tensor, state: Tensor | None, yaw: float, columns: int, *, writes: bool
    ) -> tuple[Tensor, Tensor]:
        """One frame (n, d) through the recurrence of block `index`; the frame and the state after it."""
        assert isinstance(self.row, Ssm)
        if self.row.state != "vector":
            return self.matrix(index, x, state, yaw, columns, writes=writes)
        name = f"mechanism.cells.{index}"
        y = self.affine(f"{name}.norm", x, NORM_EPSILON)
        assert isinstance(self.row, Ssm)
        if self.row.rho is not None:
            a = torch.exp(-1 / torch.exp(self.p[f"{name}.log_tau"]))
            u, o = self.linear(f"{name}.project", y).chunk(2, -1)
            h = (0 if state is None else a * state) + (1 - a) * torch.tanh(u)
            rho = self.row.rho[0] + (self.row.rho[1] - self.row.rho[0]) * torch.sigmoid(self.p[f"{name}.weight_logit"])
            return x + rho * self.linear(f"{name}.out", h * torch.sigmoid(o)), h
        assert self.row.kernel is not None
        wide = self.linear(f"{name}.widen", y)
        before = torch.zeros(self.row.kernel - 1, *wide.shape, dtype=x.dtype) if state is None else state
        window = torch.cat([before, wide[None]])  # (kernel, n, e)
        mixed = self.p[f"{name}.bias"] + sum(
            self.p[f"{name}.taps"][tap] * window[tap] for tap in range(self.row.kernel)
        )
        return x + torch.tanh(self.p[f"{name}.gate"]) * self.linear(f"{name}.narrow", mixed), window[1:]

    def seen_from(self, action: Tensor, base: Tensor | None) -> float:
        """Yaw of a frame in the world that places are fixed in."""
        assert isinstance(self.row, Ssm)
        return yaw_of(action, base) if self.row.yaw else 0.0

    def decay(self, index: int) -> Tensor | None:
        assert isinstance(self.row, Ssm)
        return torch.exp(-1 / torch.exp(self.p[f"mechanism.cells.{index}.log_tau"])) if self.row.rho else None

    def place_written(self, index: int, frame: Tensor, yaw: float, columns: int, store: Places | None) -> Places:
        """The store of block `index` after one frame (n, d), which stays as it is."""
        name = f"mechanism.cells.{index}"
        y = self.affine(f"{name}.norm", frame, NORM_EPSILON)
        assert isinstance(self.row, Ssm)
        if self.row.rho is not None:
            tokens = torch.tanh(self.linear(f"{name}.project", y).chunk(2, -1)[0])
        else:
            tokens = self.linear(f"{name}.widen", y)
        image = tokens.view(len(tokens) // columns, columns, -1)
        rows, around = self.row.cells
        made = store or Places(min(rows, len(image)), around, (self.row.kernel or 1) - 1)
        made.write(yaw, image, self.decay(index))
        return made

    def place_read(self, index: int, frame: Tensor, yaw: float, columns: int, store: Places) -> Tensor:
        """A target frame (n, d) with what it finds in the store of block `index`."""
        name, n = f"mechanism.cells.{index}", len(frame)
        y = self.affine(f"{name}.norm", frame, NORM_EPSILON)
        assert isinstance(self.row, Ssm)
        if self.row.rho is not None:
            _, o = self.linear(f"{name}.project", y).chunk(2, -1)
            [found] = store.read(yaw, (n // columns, columns, o.shape[1]), self.decay(index))
            rho = self.row.rho[0] + (self.row.rho[1] - self.row.rho[0]) * torch.sigmoid(self.p[f"{name}.weight_logit"])
            return frame + rho * self.linear(f"{name}.out", found.view(n, -1) * torch.sigmoid(o))
        taps, own = self.p[f"{name}.taps"], self.linear(f"{name}.widen", y)
        mixed = self.p[f"{name}.bias"] + taps[-1] * own
        for back, found in enumerate(store.read(yaw, (n // columns, columns, own.shape[1]), None), 1):
            mixed = mixed + taps[-1 - back] * found.view(n, -1)
        return frame + torch.tanh(self.p[f"{name}.gate"]) * self.linear(f"{name}.narrow", mixed)

    def written(
        self, segments: Sequence[Sequence[Seen]], words: Tensor, columns: int, base: Tensor | None
    ) -> dict[int, Any]:
        """States after the evidence of `segments`, frame by frame through the blocks, each frame for itself.

        `base`: pose of the last segment as seen from the first; two segments at most.
        """
        states: dict[int, Any] = {}
        placed = isinstance(self.row, Ssm) and self.row.address == "place"
        _, projected = self.modulations(torch.zeros((), dtype=words.dtype))
        for number, (anchor, *retrieved) in enumerate(list(segment) for segment in segments if segment):
            origin = base if number == len([s for s in segments if s]) - 1 else None
            for frame in [*retrieved, anchor]:
                x = self.tokens(frame.latent)[None]
                for index in range(self.recurrent[-1] + 1):
                    six = self.p[f"blocks.{index}.modulation"][0] + projected
                    x = self.with_attention(index, x, six, frame.action[None], torch.ones(1, dtype=x.dtype), columns)
                    yaw = self.seen_from(frame.action, origin)
                    if index in self.recurrent and placed:
                        states[index] = self.place_written(index, x[0], yaw, columns, states.get(index))
                    elif index in self.recurrent:
                        state = states.get(index)
                        after, states[index] = self.stepped(index, x[0], state, yaw, columns, writes=True)
                        x = after[None]
                    x = self.with_feed_forward(index, self.with_text(index, x, words), six)
        return states

    def stored(self, evidence: Sequence[Seen], columns: int) -> Tensor:
        """M tokens (m, d): the average over time, pooled over rectangles of the image, mixed."""
        grid = torch.stack([self.tokens(frame.latent) for frame in evidence]).mean(0)
        rows = len(grid) // columns
        image = grid.view(rows, columns, -1)
        cells = []
        for i in range(self.grid):
            top, bottom = i * rows // self.grid, -(-(i + 1) * rows // self.grid)
            for j in range(self.grid):
                left, right = j * columns // self.grid, -(-(j + 1) * columns // self.grid)
                cells.append(image[top:bottom, left:right].mean((0, 1)))
        logits = self.p["mechanism.memory.mixing"]
        tokens = []
        for token in range(logits.shape[1]):
            share = logits[:, token].exp() / logits[:, token].exp().sum()
            tokens.append(sum(s * cell for s, cell in zip(share, cells, strict=True)))
        return torch.stack(tokens)  # type: ignore[arg-type]

    def read_out(self, index: int, x: Tensor, stored: Tensor, found: Found | None) -> Tensor:
        name = f"mechanism.readers.{index}"
        query = self.linear(f"{name}.query", self.affine(f"{name}.norm", x, NORM_EPSILON)).flatten(0, 1)
        key, value = self.linear(f"{name}.key_value", stored).chunk(2, -1)
        if found is not None:
            _, places, at, columns = found
            e, asked, kept = x.shape[-1] // self.heads, [], []
            for head in range(self.heads):
                mine = slice(head * e, (head + 1) * e)
                q = 0.3 * query[:, mine] + self.p[f"{name}.turns.query_bias"][head]
                k = 0.3 * key[:, mine] + self.p[f"{name}.turns.key_bias"][head]
                sharpness = torch.exp(self.p[f"{name}.turns.log_sharpness"][head])
                asked.append(unit(slow_address.turned(q, at, columns)) * sharpness * math.sqrt(e))
                kept.append(unit(slow_address.turned(k, places, columns)))
            query, key = torch.cat(asked, -1), torch.cat(kept, -1)
        read = self.attended(query, key, value, torch.ones(len(stored)))
        return x + torch.tanh(self.p[f"{name}.gate"]) * self.linear(f"{name}.out", read).view_as(x)

    def velocity(
        self,
        noisy: Tensor,
        sigma: Tensor,
        actions: Tensor,
        text: Tensor,
        evidence: Sequence[Seen],
        history: Sequence[Sequence[Seen]] = (),
        base: Tensor | None = None,
    ) -> Tensor:
        """What the model says of `noisy` (t, c, h, w); `evidence` is the anchor and then the rest, oldest first."""
        row, columns, t = self.row, noisy.shape[-1] // 2, len(noisy)
        anchor, *retrieved = evidence
        context = [anchor]
        if isinstance(row, Context) or (isinstance(row, Ssm) and row.context > 1):
            context += retrieved
        if isinstance(row, Compress):
            context += compressed(row, retrieved)
        words = self.linear("text_embedding.2", gelu(self.linear("text_embedding.0", text)))
        states = self.written([*history, evidence], words, columns, base) if isinstance(row, Ssm) else {}
        stored, places, rows = None, None, noisy.shape[-2] // 2
        if isinstance(row, Spatial) and row.write == "cells":
            seen = [frame.action if row.yaw else LEVEL for frame in evidence]
            tokens = torch.cat([self.tokens(frame.latent) for frame in evidence])
            stored, places = slow_address.cells(tokens, spots(seen, rows, columns))
        elif isinstance(row, Spatial) and not row.masked:
            stored = self.stored(evidence, columns)
            words = torch.cat([words, stored]) if row.read == "text" else words

        by_logits = not isinstance(row, Compress) or row.scale == "logits"
        frames = [self.tokens(latent) for latent in noisy]
        frames += [self.tokens(s.latent) * (1 if by_logits else s.weight) for s in context]
        x = torch.stack(frames)
        poses = torch.cat([actions, torch.stack([s.action for s in context])])
        weights = torch.tensor([1.0] * t + [s.weight if by_logits else 1.0 for s in context], dtype=x.dtype)
        embedded, projected = self.modulations(1000 * sigma)
        for index in range(self.blocks):
            six = self.p[f"blocks.{index}.modulation"][0] + projected
            x = self.with_attention(index, x, six, poses, weights, columns)
            if isinstance(row, Ssm) and index in self.recurrent:
                state, target = states.get(index), []
                for frame, action in zip(x[:t], actions, strict=True):
                    if isinstance(state, Places):
                        after = self.place_read(index, frame, self.seen_from(action, base), columns, state)
                    else:
                        yaw = self.seen_from(action, base)
                        after, state = self.stepped(index, frame, state, yaw, columns, writes=False)
                    target.append(after)
                x = torch.cat([torch.stack(target), x[t:]])
            beside: Found | None = None
            found: Found | None = None
            if stored is not None and places is not None and isinstance(row, Spatial):
                looks = spots(list(poses) if row.yaw else [LEVEL] * len(poses), rows, columns)
                beside = (stored, places, looks, columns) if row.read == "text" else None
                found = stored, places, looks[: t * x.shape[1]], columns
            x = self.with_text(index, x, words, beside)
            if stored is not None and isinstance(row, Spatial) and row.read == "readout" and index in self.recurrent:
                x = torch.cat([self.read_out(index, x[:t], stored, found), x[t:]])
            x = self.with_feed_forward(index, x, six)
        shift, scale = self.p["head.modulation"][0] + embedded
        values = self.linear("head.out", normed(x[:t]) * (1 + scale) + shift)
        return torch.stack([self.latent(v, like) for v, like in zip(values, noisy, strict=True)])
