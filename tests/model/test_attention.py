"""Attention against loops over heads, queries and keys."""

import pytest
import torch
from torch import Tensor

from workloads.memory.rotary import Rotary, rotary_table, rotated
from workloads.model.attention import CrossAttention, SelfAttention
from workloads.model.initial import initialise
from workloads.model.norm import rms_norm

WIDTH, HEADS = 24, 2


def normed(x: Tensor, weight: Tensor) -> Tensor:
    return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * weight


def attended_slowly(query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
    """(l, d) each, `bias` (m,) on the keys; head by head, query by query."""
    rows = []
    e = WIDTH // HEADS
    for q in query:
        parts = []
        for head in range(HEADS):
            mine = slice(head * e, (head + 1) * e)
            logits = torch.stack([q[mine] @ k[mine] for k in key]) / e**0.5 + bias
            parts.append(logits.softmax(0) @ value[:, mine])
        rows.append(torch.cat(parts))
    return torch.stack(rows)


def turned(x: Tensor, table: Tensor) -> Tensor:
    return rotated(x.reshape(len(x), HEADS, -1), table[:, None]).reshape(len(x), WIDTH)


@pytest.mark.parametrize("shape", [(2, 5, 2, 24), (2, 5, 24)])
def test_the_written_out_norm_equals_its_slow_twin_forward_and_backward(shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(shape, generator=generator).requires_grad_()
    weight = torch.randn(shape[2:], generator=generator).requires_grad_()
    pull = torch.randn(shape, generator=generator)
    fast, slow = rms_norm(x, weight, 1e-6), normed(x, weight)
    found = torch.autograd.grad((fast * pull).sum(), (x, weight))
    expected = torch.autograd.grad((slow * pull).sum(), (x, weight))
    torch.testing.assert_close(fast, slow, atol=1e-6, rtol=1e-5)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_self_attention_equals_a_loop_over_heads_and_keys() -> None:
    attention = SelfAttention(WIDTH, HEADS)
    initialise(attention, 0)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 8, WIDTH, generator=generator)
    bias = torch.randn(2, 1, 1, 8, generator=generator)
    bias[1, ..., 6:] = -torch.inf
    with torch.no_grad():
        attention.norm_qk.copy_(torch.rand(2, WIDTH, generator=generator) + 0.5)
        table = rotary_table(2, 2, 2, WIDTH // HEADS)
        out = attention(x, Rotary(table), bias, 8)
        few = attention(x, Rotary(table), bias, 4)
        for sample in range(2):
            q, k, v = attention.qkv(x[sample]).chunk(3, -1)
            q, k = (turned(normed(y, w), table) for y, w in zip((q, k), attention.norm_qk, strict=True))
            slow = attention.out(attended_slowly(q, k, v, bias[sample, 0, 0]))
            torch.testing.assert_close(out[sample], slow, atol=1e-5, rtol=0)
    torch.testing.assert_close(few, out[:, :4], atol=1e-6, rtol=0)


def test_cross_attention_equals_a_loop_over_heads_and_keys() -> None:
    attention = CrossAttention(WIDTH, HEADS)
    initialise(attention, 0)
    generator = torch.Generator().manual_seed(0)
    x, text = torch.randn(1, 5, WIDTH, generator=generator), torch.randn(1, 3, WIDTH, generator=generator)
    with torch.no_grad():
        attention.norm_key.copy_(torch.rand(WIDTH, generator=generator) + 0.5)
        k, v = attention.key_value(text[0]).chunk(2, -1)
        q = normed(attention.query(x[0]), attention.norm_query)
        slow = attention.out(attended_slowly(q, normed(k, attention.norm_key), v, torch.zeros(3)))
        torch.testing.assert_close(attention(x, text)[0], slow, atol=1e-5, rtol=0)
