"""How parameters start, which of them decay, and the digest of those that all rows share.

A parameter's first value is a function of (seed, its name, its shape) alone: two rows with the same
seed start the backbone at the same bits, in whatever order modules are built (study.md section 1). The one exception is
a row's `init_stream`, which is there to have other draws (section 8, A/A).
"""

import hashlib
from collections.abc import Iterator

import torch
from torch import nn

from workloads.data.draws import stream
from workloads.memory.initial_values import Rule, constant, xavier

MECHANISM = "mechanism."
"""Prefix of the parameters that a row adds; all others are shared."""

UNDECAYED = (
    "bias",
    "modulation",
    "gate",
    "log_tau",
    "weight_logit",
    "query_bias",
    "key_bias",
    "log_sharpness",
)
"""Last parts of the names of parameters without weight decay, beside those of norms."""


def initialise(model: nn.Module, seed: int, init_stream: int = 0) -> None:
    """Set every parameter of `model` to its first value, drawn from `init_stream` if that is not 0.

    A module says by `initial_rules()` how its parameters start; what it leaves out starts by the
    general rule: matrices Xavier uniform, biases 0, a norm's weight 1.
    """
    rules = dict(_rules(model))
    key = (init_stream,) if init_stream else ()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            rule = rules.get(name) or _general_rule(name, parameter)
            values = rule(stream("parameter", seed, name, *key), tuple(parameter.shape))
            parameter.copy_(torch.from_numpy(values))


def _rules(model: nn.Module) -> Iterator[tuple[str, Rule]]:
    for prefix, module in model.named_modules():
        declare = getattr(module, "initial_rules", None)
        if declare is not None:
            for name, rule in declare().items():
                yield (f"{prefix}.{name}" if prefix else name), rule


def _general_rule(name: str, parameter: nn.Parameter) -> Rule:
    if parameter.dim() >= 2:
        return xavier()
    return constant(0.0 if name.endswith("bias") else 1.0)


def initial_shared_digest(model: nn.Module) -> str:
    """sha256 over the parameters that every row shares, by name; equal before step 0 in all rows of a seed."""
    digest = hashlib.sha256()
    for name, parameter in sorted(model.named_parameters()):
        if not name.startswith(MECHANISM):
            digest.update(f"{name}{tuple(parameter.shape)}".encode())
            digest.update(parameter.detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()


def trainable_shared_digest(model: nn.Module) -> str:
    """sha256 over the names of the shared parameters that train, and whether they decay; equal in all rows."""
    names = (name for name, parameter in model.named_parameters() if parameter.requires_grad)
    shared = sorted(f"{name} {decays(name)}" for name in names if not name.startswith(MECHANISM))
    return hashlib.sha256("\n".join(shared).encode()).hexdigest()


def decay_groups(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Parameters with weight decay and without it (norms, biases, modulation, gates, decays), in order of name."""
    groups: tuple[list[nn.Parameter], list[nn.Parameter]] = ([], [])
    for name, parameter in sorted(model.named_parameters()):
        groups[0 if decays(name) else 1].append(parameter)
    return groups


def decays(name: str) -> bool:
    """Whether the parameter of this name is subject to weight decay."""
    parts = name.split(".")
    return parts[-1] not in UNDECAYED and not any("norm" in part for part in parts[-2:])


def parameters_added(model: nn.Module) -> int:
    """Numbers that the row's mechanism adds to the shared backbone."""
    return sum(p.numel() for name, p in model.named_parameters() if name.startswith(MECHANISM))
