"""The stage evaluate: test images of one branch through a trained model; a line of cases.jsonl for each."""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from digits_study.train import make_model
from workloads.contract.request import Request
from workloads.runtime.progress import Progress, StageOutcome


def run(request: Request, progress: Progress) -> StageOutcome:
    branch = request.config["branch"]
    digits = np.load(Path(request.inputs["split"]) / "digits.npz")
    count = 1 if request.smoke else branch["cases"]
    images = torch.from_numpy(digits["test_images"][:count]).view(-1, 1, 8, 8)
    labels = torch.from_numpy(digits["test_labels"][:count]).long()
    images = torch.roll(images, branch.get("pixels", 0), dims=3)
    model = make_model(request.row)
    model.load_state_dict(load_file(Path(request.inputs["train"]) / "model.safetensors"))
    with torch.no_grad():
        right = (model(images).argmax(1) == labels).float()
    with (Path(request.out) / "cases.jsonl").open("w", encoding="utf-8") as file:
        for number, value in enumerate(right.tolist()):
            case = {
                "case": f"digit-{number:03d}",
                "metric": "accuracy",
                "unit": "share",
                "better": "high",
                "value": value,
            }
            file.write(json.dumps(case) + "\n")
    progress.metric(0, "accuracy", right.mean().item())
    return StageOutcome(steps=len(labels))
