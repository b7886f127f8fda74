"""DeepSpeed's settings of one training: what the study fixes, and what a cluster may add. Pure.

The global batch belongs to the study; how it is cut over ranks and micro-batches belongs to the
machine, and must multiply back to it exactly.

Source: design, "Embedded DeepSpeed"; study.md section 6.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workloads.contract.request import Execution
from workloads.runtime.errors import BadInput
from workloads.study.deepspeed import FIXED, WHY


@dataclass(frozen=True, kw_only=True)
class BatchShape:
    """How the global batch is cut: `ranks * micro_batch * accumulate == global_batch`."""

    global_batch: int
    ranks: int
    micro_batch: int
    accumulate: int

    def samples(self, rank: int, part: int) -> range:
        """Samples of the global batch in micro-batch `part` of `rank`: dealt in order, a rank's lie together."""
        start = (rank * self.accumulate + part) * self.micro_batch
        return range(start, start + self.micro_batch)


def batch_shape(global_batch: int, ranks: int, execution: Execution) -> BatchShape:
    """How `ranks` share `global_batch`; without `execution.micro_batch` it is what ranks and accumulation leave.

    Raises:
        BadInput: the three factors do not multiply to the global batch.
    """
    accumulate = execution.accumulate
    micro_batch = execution.micro_batch
    if micro_batch is None:
        micro_batch = max(1, global_batch // max(1, ranks * accumulate))
    product = micro_batch * accumulate * ranks
    if micro_batch < 1 or accumulate < 1 or product != global_batch:
        raise BadInput(
            f"execution: micro_batch {micro_batch} × accumulate {accumulate} × ranks {ranks} = {product}, "
            f"but training.global_batch is {global_batch}; allowed: factors whose product is the global batch; "
            "change execution.micro_batch or execution.accumulate, for the global batch belongs to the study"
        )
    return BatchShape(global_batch=global_batch, ranks=ranks, micro_batch=micro_batch, accumulate=accumulate)


def zero_stage(execution: Execution) -> int:
    """ZeRO stage of `execution.deepspeed`; 0 when it names none."""
    return int(execution.deepspeed.get("zero_optimization", {}).get("stage", 0))


def recomputes(execution: Execution) -> bool:
    """Whether a block keeps only its input for the backward: `deepspeed.activation_checkpointing` is there.

    It is torch's own checkpointing, one block at a time, which gives the numbers of a training without it.

    Raises:
        BadInput: a switch of DeepSpeed's checkpointing is on, which nothing here would act on.
    """
    section = execution.deepspeed.get("activation_checkpointing")
    for key, value in (section or {}).items():
        if value:
            raise BadInput(
                f"request.json: execution.deepspeed.activation_checkpointing.{key} is {value!r}; nothing acts on it; "
                "allowed: activation_checkpointing: {}, which keeps the input of every block and computes the rest "
                "again; take the key out of deepspeed in cluster/*.yaml, and use zero_optimization.offload_optimizer "
                "where memory is still short"
            )
    return section is not None


def deepspeed_settings(training: Mapping[str, Any], execution: Execution, shape: BatchShape) -> dict[str, Any]:
    """The whole configuration handed to `deepspeed.initialize`.

    Without ZeRO the gradient is clipped by `engine.Engine`, which measures its norm in the same pass;
    with ZeRO it lies in shards and DeepSpeed clips.

    Raises:
        BadInput: `execution.deepspeed` holds a key that the study fixes.
    """
    for key in execution.deepspeed:
        if key in FIXED:
            raise BadInput(f"request.json: execution.deepspeed.{key} {WHY}")
    clip = training["clip"]
    sharded = zero_stage(execution) > 0
    fixed: dict[str, Any] = {
        "train_batch_size": shape.global_batch,
        "train_micro_batch_size_per_gpu": shape.micro_batch,
        "gradient_accumulation_steps": shape.accumulate,
        "gradient_clipping": float(clip) if sharded and clip is not None else 0.0,
        # RejectingAdamW is AdamW to the bit; DeepSpeed compares types, not bases.
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": None,
        "wall_clock_breakdown": False,
        "timers": {"throughput": {"enabled": False}},
    }
    if training["precision"] == "bfloat16":
        # No module reduces its gradients in bfloat16: the sum over ranks stays float32.
        fixed["torch_autocast"] = {"enabled": True, "dtype": "bfloat16", "lower_precision_safe_modules": []}
    return {**fixed, **execution.deepspeed}
