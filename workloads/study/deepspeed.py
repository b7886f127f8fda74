"""DeepSpeed settings that a cluster file must not set, because they change the result (study.md section 6)."""

from collections.abc import Mapping
from typing import Any

FIXED = (
    "train_batch_size",
    "train_micro_batch_size_per_gpu",
    "gradient_accumulation_steps",
    "gradient_clipping",
    "managed_gradient_accumulation",
    "optimizer",
    "scheduler",
    "fp16",
    "bf16",
    "torch_autocast",
    "data_efficiency",
    "curriculum_learning",
    "progressive_layer_drop",
    "sparse_gradients",
    "seed",
)
WHY = (
    "is fixed by the study, since it changes the result; allowed: keys that only change how it is computed "
    "(zero_optimization, activation_checkpointing, comms_logger, …); remove it from deepspeed in cluster/*.yaml, and "
    "set it under controls.training instead"
)
"""Problem of a key in `FIXED`."""


def deepspeed_problem(given: Mapping[str, Any]) -> tuple[str, str] | None:
    """Key and problem of a setting that the study fixes, or that the memory estimate cannot read; None: there is none.

    DeepSpeed itself checks the rest.
    """
    for key in given:
        if key in FIXED:
            return key, WHY
    zero, recomputed = given.get("zero_optimization", {}), given.get("activation_checkpointing")
    sections = {"zero_optimization": zero, "activation_checkpointing": {} if recomputed is None else recomputed}
    if isinstance(zero, Mapping):
        sections |= {f"zero_optimization.{key}": zero.get(key, {}) for key in ("offload_optimizer", "offload_param")}
    for key, section in sections.items():
        if not isinstance(section, Mapping):
            return key, f"is {section!r}; allowed: a mapping; or remove it"
    stage = zero.get("stage", 0)
    if type(stage) is not int or stage not in range(4):
        return "zero_optimization.stage", f"is {stage!r}; allowed: 0, 1, 2, 3"
    for key in ("reduce_bucket_size", "stage3_max_live_parameters"):
        size = zero.get(key, 1)
        if type(size) not in (int, float) or size <= 0:
            return f"zero_optimization.{key}", f"is {size!r}; allowed: a number above 0"
    return None
