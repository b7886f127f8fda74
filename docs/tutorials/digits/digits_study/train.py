"""The stage train: one row with one seed, in plain PyTorch. A killed attempt goes on from its newest checkpoint."""

import hashlib
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from workloads.contract.request import Request
from workloads.runtime import checkpoints
from workloads.runtime.progress import Progress, StageOutcome


def make_model(row):
    if row["family"] == "linear":
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    if row["family"] == "mlp":
        return nn.Sequential(nn.Flatten(), nn.Linear(64, row["width"]), nn.ReLU(), nn.Linear(row["width"], 10))
    convolution = nn.Conv2d(1, row["channels"], 3, padding=1)
    return nn.Sequential(convolution, nn.ReLU(), nn.Flatten(), nn.Linear(64 * row["channels"], 10))


def run(request: Request, progress: Progress) -> StageOutcome:
    training = request.config["training"]
    digits = np.load(Path(request.inputs["split"]) / "digits.npz")
    images = torch.from_numpy(digits["train_images"]).view(-1, 1, 8, 8)
    labels = torch.from_numpy(digits["train_labels"]).long()
    torch.manual_seed(request.seed)
    model = make_model(request.row)
    optimiser = torch.optim.SGD(model.parameters(), lr=training["rate"])
    epochs = 1 if request.smoke else training["epochs"]
    start, seen = 0, hashlib.sha256()
    saved = checkpoints.resume(request, progress)
    if saved is not None:
        model.load_state_dict(load_file(saved.folder / "model.safetensors"))
        start = saved.step
    for epoch in range(epochs):
        # Each row and attempt meets the samples in the same order: it depends on seed and epoch alone.
        order = np.random.default_rng([request.seed, epoch]).permutation(len(images))
        seen.update(order.tobytes())
        if epoch < start:
            continue
        losses = []
        for batch in np.array_split(order, len(order) // training["batch"]):
            loss = nn.functional.cross_entropy(model(images[batch]), labels[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        progress.metric(epoch + 1, "loss", sum(losses) / len(losses))
        progress.at(epoch + 1, epochs, "training")
        with checkpoints.writing(request, epoch + 1, progress) as folder:
            save_file(model.state_dict(), folder / "model.safetensors")
        if progress.stopping:
            return StageOutcome(steps=epoch + 1, stopped=True)
    save_file(model.state_dict(), Path(request.out) / "model.safetensors")
    return StageOutcome(
        steps=epochs,
        records={"order": seen.hexdigest()},
        cost={"parameters": sum(p.numel() for p in model.parameters())},
    )
