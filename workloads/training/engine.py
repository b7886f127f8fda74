"""DeepSpeed behind three calls: forward, backward of a micro-batch, end of a step.

Nothing is compiled and no port is picked: the shared-memory operator is switched off before
DeepSpeed looks for it, the optimiser is torch's own, and the process group is made from a store
that this process already holds (design, "Embedded DeepSpeed" and "Rendezvous").
"""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from workloads.runtime.fault_points import point
from workloads.training import without_mlflow  # acts by being imported first

# isort: split
import deepspeed
import deepspeed.comm
import deepspeed.ops
import torch
import torch.distributed as dist
from deepspeed.runtime.zero.partition_parameters import GatheredParameters
from deepspeed.utils import logger as deepspeed_logger
from torch import Tensor, nn
from torch.distributed import HashStore, Store, TCPStore  # type: ignore[attr-defined]

from workloads.contract.request import Execution, Rendezvous
from workloads.model.world_model import WorldModel
from workloads.runtime.errors import BadInput
from workloads.training.deepspeed_checkpoints import SafeCheckpoints
from workloads.training.optimiser import RejectingAdamW, set_rate
from workloads.training.settings import BatchShape, deepspeed_settings, recomputes, zero_stage

without_mlflow.lift()

JOINING_TIMEOUT = timedelta(minutes=5)
"""After this long a rank has not met the others, and ends."""

COLLECTIVE_TIMEOUT = timedelta(minutes=30)
"""After this long without the others a rank ends, rather than wait for ever on one that died; as long as rank 0 may
take to write a checkpoint, or to read it for its digests, on a slow disk."""

Moments = dict[str, Tensor]
"""State of the optimiser: `{name}/exp_avg`, `{name}/exp_avg_sq`, `{name}/step`."""


def join_ranks(rendezvous: Rendezvous, device: str) -> None:
    """Make this process a rank of its job: torch's process group, then DeepSpeed's.

    At world size 1 the store is in memory and no socket is opened. A process that is a rank already
    (several trainings in one test) stays it.

    Raises:
        BadInput: several ranks, but no address to meet at.
    """
    world, rank = rendezvous.world_size, rendezvous.rank
    if world > 1 and (rendezvous.address is None or rendezvous.port is None):
        raise BadInput(
            f"request.json: rendezvous.address and rendezvous.port are null at world size {world}; allowed: the "
            "address of rank 0's store; let the host that starts the ranks fill them in"
        )
    deepspeed_logger.setLevel(logging.ERROR)
    # Otherwise DeepSpeed compiles this operator on its first start on a CPU, and a kill in it leaves a lock.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    # Without all five DeepSpeed asks MPI for them, which answers wrongly inside SLURM and Ray.
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rendezvous.local_rank),
        WORLD_SIZE=str(world),
        MASTER_ADDR=rendezvous.address or "127.0.0.1",
        MASTER_PORT=str(rendezvous.port or 0),
    )
    backend = "nccl" if device == "cuda" else "gloo"
    if not dist.is_initialized():
        store: Store
        if world == 1:
            store = HashStore()
        else:
            assert rendezvous.address is not None and rendezvous.port is not None
            store = TCPStore(
                rendezvous.address,
                rendezvous.port,
                world,
                is_master=rank == 0,
                timeout=JOINING_TIMEOUT,
                master_listen_fd=rendezvous.listen_fd if rank == 0 else None,
            )
        dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=COLLECTIVE_TIMEOUT)
    deepspeed.init_distributed(backend, auto_mpi_discovery=False, timeout=COLLECTIVE_TIMEOUT, verbose=False)


class Engine:
    """A model being trained: parameters float32, optimiser in ZeRO shards or whole.

    Without ZeRO (the default: it has the least overhead) the gradient norm is measured and clipped here
    in one pass; at world size 1 nothing is reduced.
    """

    def __init__(
        self,
        model: nn.Module,
        optimiser: RejectingAdamW,
        training: Mapping[str, Any],
        execution: Execution,
        shape: BatchShape,
    ) -> None:
        """Hand `model`, already on its device and with the weights to start from, to DeepSpeed.

        Raises:
            BadInput: `execution.deepspeed` holds a key that the study fixes.
        """
        settings = deepspeed_settings(training, execution, shape)
        if isinstance(model, WorldModel):
            model.checkpointed = recomputes(execution)
        self._clip = None if training["clip"] is None else float(training["clip"])
        self._optimiser = optimiser
        point("deepspeed.before")
        self._engine = deepspeed.initialize(model=model, optimizer=optimiser, config=settings)[0]
        point("deepspeed.after")
        self._engine.checkpoint_engine = SafeCheckpoints()
        self.zero_stage = zero_stage(execution)
        self.world_size = shape.ranks
        self.rank = dist.get_rank()
        if self.world_size == 1 and not self.sharded:
            self._engine.enable_backward_allreduce = False
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        if not self.sharded:
            # DeepSpeed's own walks all modules for their names at every step.
            self._engine.zero_grad = self._clear_gradients
        self._names = [name for name, p in model.named_parameters() if p.requires_grad]
        self._norm = 0.0

    @property
    def sharded(self) -> bool:
        """Whether each rank holds a shard of the optimiser's state (any ZeRO stage)."""
        return self.zero_stage > 0

    @property
    def module(self) -> nn.Module:
        """The model itself."""
        module: nn.Module = self._engine.module
        return module

    def forward(self, *inputs: Any) -> Tensor:
        """Output of the model, in autocast where the study says bfloat16."""
        output: Tensor = self._engine(*inputs)
        return output

    def backward(self, loss: Tensor, *, last: bool) -> None:
        """Add the gradients of one micro-batch's mean loss; `last` of the step leaves them for `finish`."""
        self._engine.backward(loss)
        if not last:
            self._engine.step()

    def agreed(self, *values: float) -> list[float]:
        """Sum of each value over all ranks, in float64; the values themselves at world size 1."""
        if self.world_size == 1:
            return list(values)
        device = next(iter(self._parameters)).device
        total = torch.tensor(values, dtype=torch.float64, device=device)
        dist.all_reduce(total)
        return [float(value) for value in total.tolist()]

    def wait_for_all(self) -> None:
        """Return when every rank has come here."""
        if self.world_size > 1:
            dist.barrier()

    def finish(self, *, take: bool, rate: float) -> float:
        """End a step: update at `rate` if it is taken, clear the gradients in any case.

        Returns:
            The norm of the whole gradient before clipping; not finite when a gradient is not. Such a step
            has no effect either, at any ZeRO stage: it would leave NaN in every parameter.
        """
        set_rate(self._optimiser, rate)
        norm = float("nan")
        if not self.sharded:
            norm = self._clipped_norm()
            take = take and norm < float("inf")
        self._optimiser.rejecting = not take
        try:
            self._engine.step()
        finally:
            self._optimiser.rejecting = False
        if self.sharded:
            norm = float(self._engine.get_global_grad_norm())
        return norm

    def _clear_gradients(self) -> None:
        for parameter in self._parameters:
            parameter.grad = None

    def _clipped_norm(self) -> float:
        for parameter in self._parameters:
            if parameter.grad is None:
                # A reduction over ranks would have filled it in; weight decay must not depend on that.
                parameter.grad = torch.zeros_like(parameter)
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients, foreach=True)
        if self._clip is not None:
            torch.nn.utils.clip_grads_with_norm_(self._parameters, self._clip, norm, foreach=True)
        return float(norm)

    @contextmanager
    def whole(self, part: nn.Module | None = None) -> Iterator[nn.Module]:
        """The model, or a part of it, with every parameter whole on this rank; all ranks enter and leave together."""
        module = self.module if part is None else part
        shards = list(module.parameters()) if self.zero_stage == 3 else []
        with GatheredParameters(shards, enabled=bool(shards)):
            yield module

    def called(self, method: Callable[..., Any], *given: Any) -> Any:
        """`method(*given)`, a method of the model beside its forward; all ranks call it together.

        At ZeRO stage 3 weights are gathered, block by block, inside the model's own call and nowhere else:
        there `method` stands in for the forward of one call.
        """
        if self.zero_stage < 3:
            return method(*given)
        module = self.module
        module.forward = method
        try:
            return self._engine(*given)
        finally:
            del module.forward

    def moments(self) -> Moments:
        """State of the optimiser that this rank holds: whole by parameter name, or its shards by number."""
        held: Moments = {}
        for name, parameter in self._owners():
            for key, value in self._optimiser.state.get(parameter, {}).items():
                held[f"{name}/{key}"] = torch.as_tensor(value).detach().cpu().contiguous()
        return held

    def load_moments(self, held: Mapping[str, Tensor]) -> None:
        """Put back what `moments` gave, on a machine with the same sharding.

        Raises:
            BadInput: a part is missing, or has another shape.
        """
        for name, parameter in self._owners():
            state: dict[str, Tensor] = {}
            for key in ("step", "exp_avg", "exp_avg_sq"):
                value = held.get(f"{name}/{key}")
                if value is None:
                    if key == "step":
                        break  # A parameter that was never updated has no state.
                    raise BadInput(
                        f"checkpoint: optimiser state {name}/{key} is missing; delete this checkpoint and resume from "
                        "the one before"
                    )
                if key != "step" and value.shape != parameter.shape:
                    raise BadInput(
                        f"checkpoint: optimiser state {name}/{key} has shape {tuple(value.shape)}, the model needs "
                        f"{tuple(parameter.shape)}; resume at the world size and ZeRO stage it was written with"
                    )
                state[key] = value.to(parameter.device, torch.float32)
            if state:
                self._optimiser.state[parameter] = state

    def groups(self) -> list[list[str]] | None:
        """Names of the optimiser's groups in the order in which their state lies; None where that is not end to end."""
        if self.zero_stage == 3:
            return None
        named = {id(p): name for name, p in self.module.named_parameters()}
        if not self.sharded:
            return [[named[id(p)] for p in group["params"]] for group in self._optimiser.param_groups]
        wrapper = self._engine.optimizer
        if any(any(gaps) for gaps in wrapper.round_robin_bit16_padding):
            return None
        return [[named[id(p)] for p in group] for group in wrapper.round_robin_bit16_groups]

    def _owners(self) -> list[tuple[str, Tensor]]:
        """What the optimiser's state hangs on: parameters, or flat float32 shards in their order."""
        if not self.sharded:
            return list(zip(self._names, self._parameters, strict=True))
        wrapper = self._engine.optimizer
        attribute = "fp32_partitioned_groups_flat" if self.zero_stage == 3 else "single_partition_of_fp32_groups"
        return [(f"shard-{number}", shard) for number, shard in enumerate(getattr(wrapper, attribute))]
