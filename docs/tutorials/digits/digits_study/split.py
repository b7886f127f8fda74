"""The stage split: scikit-learn's digits, shuffled and cut into training and test images."""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from workloads.contract.request import Request
from workloads.runtime.progress import Progress, StageOutcome


def run(request: Request, progress: Progress) -> StageOutcome:
    data = request.config["data"]
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(data["seed"]).permutation(len(images))
    images, labels = (images[order] / 16).astype(np.float32), labels[order]
    test = round(len(images) * data["test_share"])
    np.savez(
        Path(request.out) / "digits.npz",
        test_images=images[:test],
        test_labels=labels[:test],
        train_images=images[test:],
        train_labels=labels[test:],
    )
    return StageOutcome(steps=1)
