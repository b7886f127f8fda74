"""The world model a second time, from study.md sections 3 to 5: one sample, float64, lists and loops.

Nothing of `workloads` computes here: only the parameters of a model, by name, are shared. Evidence is a list
of what is there, so a mask, a padding and a batch do not exist, and a slot is counted from the list's end.
"""

import math
from collections.abc import Sequence

import slow_address
import torch
from slow_address import Spot, spots, unit
from slow_compress import Seen, compressed
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


class Twin:
    """One sample through the parameters of a model."""

    def __init__(
        self, parameters: dict[str, Tensor], row: MemoryRow, site: str, heads: int, every: int, grid: int
    ) -> None:
        self.p, self.row, self.site, self.heads, self.grid = parameters, row, site, heads, grid
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

    def spots(self, actions: Sequence[Tensor], tokens: int, columns: int) -> list[Spot] | None:
        """Where the tokens of frames look, in rows with an address."""
        if getattr(self.row, "address", "none") == "none":
            return None
        return spots(actions, tokens // columns, columns, yaw=bool(getattr(self.row, "yaw", True)))

    def by_address(self, x: Tensor, at: Sequence[Spot], columns: int) -> Tensor:
        """`x` (l, d) turned in every head to where its tokens look."""
        return torch.cat([slow_address.turned(head, at, columns) for head in x.chunk(self.heads, -1)], -1)

    def turned(
        self, x: Tensor, positions: Sequence[tuple[int, int, int]], at: Sequence[Spot] | None, columns: int
    ) -> Tensor:
        """`x` (l, d): in every head, pairs of channels turned by time, row and column, or the bearing `at` it."""
        e = x.shape[1] // self.heads
        space = 2 * (e // 6)
        angles = torch.tensor(
            [
                [
                    at[axis] / 10000 ** (2 * pair / wide)
                    for axis, wide in enumerate((e - 2 * space, space, space))
                    for pair in range(wide // 2)
                ]
                for at in positions
            ],
            dtype=x.dtype,
        )
        if at is not None:
            turns = slow_address.whole_turns(space // 2, columns)
            angles[:, -len(turns) :] = torch.tensor([[m * bearing for m in turns] for _, bearing in at], dtype=x.dtype)
        angles = angles.repeat(1, self.heads)
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
        weights: Tensor,
        at: Sequence[Spot] | None,
        columns: int,
    ) -> Tensor:
        name = f"blocks.{index}.self_attention"
        q, k, v = self.linear(f"{name}.qkv", x).chunk(3, -1)
        q, k = (root_mean_square_normed(y, w) for y, w in zip((q, k), self.p[f"{name}.norm_qk"], strict=True))
        q, k = (self.turned(y, positions, at, columns) for y in (q, k))
        return self.linear(f"{name}.out", self.attended(q, k, v, weights))

    def with_attention(
        self, index: int, x: Tensor, six: Tensor, actions: Tensor, weights: Tensor, columns: int
    ) -> Tensor:
        """`x` (f, n, d) after self-attention among all its frames, the action at the site's place."""
        f, n, d = x.shape
        shift, scale, gate = six[:3]
        a = actions @ self.p[f"blocks.{index}.action.weight"].T + self.p[f"blocks.{index}.action.bias"]
        a = a[:, None]  # (f, 1, d)
        positions = [(t, place // columns, place % columns) for t in range(f) for place in range(n)]
        at = self.spots(list(actions), n, columns) if isinstance(self.row, Context | Compress) else None

        def attention(y: Tensor) -> Tensor:
            every = weights.repeat_interleave(n)
            return self.self_attention(index, y.reshape(f * n, d), positions, every, at, columns).view(f, n, d)

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

    def with_text(
        self,
        index: int,
        x: Tensor,
        words: Tensor,
        found: tuple[Tensor, Sequence[Spot], Sequence[Spot], int] | None = None,
    ) -> Tensor:
        """`found`: stored tokens that an address finds, where they are, where `x` looks, columns."""
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
        self, index: int, x: Tensor, state: Tensor | None, action: Tensor, columns: int, *, writes: bool
    ) -> tuple[Tensor, Tensor]:
        """One frame (n, d) through the matrix of block `index`."""
        assert isinstance(self.row, Ssm)
        name = f"mechanism.cells.{index}."
        own = {key.removeprefix(name): value for key, value in self.p.items() if key.startswith(name)}
        at = self.spots([action], len(x), columns)
        assert at is not None
        if self.row.address == "learned":
            rows = len(x) // columns
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
        self, index: int, x: Tensor, state: Tensor | None, action: Tensor, columns: int, *, writes: bool
    ) -> tuple[Tensor, Tensor]:
        """One frame (n, d) through the recurrence of block `index`; the frame and the state after it."""
        name = f"mechanism.cells.{index}"
        y = self.affine(f"{name}.norm", x, NORM_EPSILON)
        assert isinstance(self.row, Ssm)
        if self.row.state != "vector":
            return self.matrix(index, x, state, action, columns, writes=writes)
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

    def written(self, segments: Sequence[Sequence[Seen]], words: Tensor, columns: int) -> dict[int, Tensor]:
        """States after the evidence of `segments`, frame by frame through the blocks, each frame for itself."""
        states: dict[int, Tensor] = {}
        _, projected = self.modulations(torch.zeros((), dtype=words.dtype))
        for anchor, *retrieved in (list(segment) for segment in segments if segment):
            for frame in [*retrieved, anchor]:
                x = self.tokens(frame.latent)[None]
                for index in range(self.recurrent[-1] + 1):
                    six = self.p[f"blocks.{index}.modulation"][0] + projected
                    x = self.with_attention(index, x, six, frame.action[None], torch.ones(1, dtype=x.dtype), columns)
                    if index in self.recurrent:
                        state = states.get(index)
                        after, states[index] = self.stepped(index, x[0], state, frame.action, columns, writes=True)
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

    def read_out(
        self, index: int, x: Tensor, stored: Tensor, found: tuple[Sequence[Spot], Sequence[Spot], int] | None
    ) -> Tensor:
        """`found`: where the stored tokens are, where `x` looks, columns."""
        name = f"mechanism.readers.{index}"
        query = self.linear(f"{name}.query", self.affine(f"{name}.norm", x, NORM_EPSILON)).flatten(0, 1)
        key, value = self.linear(f"{name}.key_value", stored).chunk(2, -1)
        if found is not None:
            places, at, columns = found
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
        states = self.written([*history, evidence], words, columns) if isinstance(row, Ssm) else {}
        stored, places = None, None
        if isinstance(row, Spatial) and not row.masked:
            n = noisy.shape[-2] // 2 * columns
            at = self.spots([frame.action for frame in evidence], n, columns)
            if at is None:
                stored = self.stored(evidence, columns)
            else:
                stored, places = slow_address.cells(torch.cat([self.tokens(frame.latent) for frame in evidence]), at)
        if stored is not None and places is None and isinstance(row, Spatial) and row.read == "text":
            words = torch.cat([words, stored])

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
                    after, state = self.stepped(index, frame, state, action, columns, writes=False)
                    target.append(after)
                x = torch.cat([torch.stack(target), x[t:]])
            looks, beside, found = self.spots(list(poses), x.shape[1], columns), None, None
            if stored is not None and places is not None and looks is not None and isinstance(row, Spatial):
                beside = (stored, places, looks, columns) if row.read == "text" else None
                found = places, looks[: t * x.shape[1]], columns
            x = self.with_text(index, x, words, beside)
            if stored is not None and isinstance(row, Spatial) and row.read == "readout" and index in self.recurrent:
                x = torch.cat([self.read_out(index, x[:t], stored, found), x[t:]])
            x = self.with_feed_forward(index, x, six)
        shift, scale = self.p["head.modulation"][0] + embedded
        values = self.linear("head.out", normed(x[:t]) * (1 + scale) + shift)
        return torch.stack([self.latent(v, like) for v, like in zip(values, noisy, strict=True)])
