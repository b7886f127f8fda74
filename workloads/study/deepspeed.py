"""What a cluster may not say of DeepSpeed: what would change the result, or what study.md section 6 fixes."""

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
    "is fixed by the study and would change the result; allowed: keys that say how it is computed "
    "(zero_optimization, activation_checkpointing, comms_logger, …); remove it from deepspeed in cluster/*.yaml, and "
    "set what it means under controls.training"
)
"""What is said of one of them."""
