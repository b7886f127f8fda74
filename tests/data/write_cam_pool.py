"""Write a pool to the published Context-as-Memory layout, and an open-domain one: standard library, NumPy and PIL.

It shares no line with the reader, so that the two can disagree.
"""

import csv
import json
import math
from pathlib import Path

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 30, 64  # larger than any target size here, and of another shape


def scene_names(scenes: int) -> list[str]:
    return [f"AncientTown_Level{i % 7}_Sub.Area-{i:03d}_take 2" for i in range(scenes)]


def write_pool(root: Path, scenes: int = 100, frames: int = 9) -> Path:
    """Cameras that turn away and back while they walk a little; every third scene has no labels."""
    rows, captions = [], []
    for number, scene in enumerate(scene_names(scenes)):
        random = np.random.default_rng(number)
        folder = root / "frames" / scene
        folder.mkdir(parents=True)
        picture = random.integers(0, 256, (HEIGHT, 4 * WIDTH, 3), dtype=np.uint8)
        actor, yaws = {}, []
        for i in range(frames):
            there = min(i, frames - 1 - i)
            yaws.append(170.0 + 6.0 * there)  # past 180 degrees
            shown = np.roll(picture, -3 * there, axis=1)[:, :WIDTH]
            Image.fromarray(shown).save(folder / f"{i:04d}.png")
            actor[str(i)] = {
                "position": [100.0 * number + 5.0 * there, -20.0 + 2.0 * math.sin(there), 180],
                "rotation": [0.0, -2.5, yaws[-1]],
            }
        (root / "jsons").mkdir(exist_ok=True)
        (root / "jsons" / f"{scene}.json").write_text(json.dumps({"CineCameraActor": actor}), encoding="utf-8")
        if number % 3:
            labels = root / "overlap_labels" / scene
            labels.mkdir(parents=True)
            for i in range(frames):
                near = [str(j) for j in range(frames) if j != i and abs(yaws[i] - yaws[j]) < 30]
                text = json.dumps({"frame_index": str(i), "overlapping_frames": near})
                (labels / f"{i}.json").write_text(text, encoding="utf-8")
        half = frames // 2
        captions += [
            f"{scene}/0_{half}.mp4\ta street in the rain",
            f"{scene}/{half + 1}_{frames - 1}.mp4\tan old garden",
        ]
        names = [f"{scene}/{i:04d}.png" for i in range(frames)]
        rows.append(["frames/" + "|".join(names), "a street in the rain", scene, 0, frames - 1])
    (root / "captions.txt").write_text("\n".join(captions) + "\n", encoding="utf-8")
    with (root / "metadata_full.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["video", "prompt", "video_name", "start_frame", "end_frame"])
        writer.writerows(rows)
    return root


def write_open(root: Path, prompts: int = 3, variants: int = 3) -> Path:
    """Prompts, each with an object, and pictures of it."""
    root.mkdir(parents=True, exist_ok=True)
    lines = ["# prompt id, object, prompt"]
    for p in range(prompts):
        lines.append(f"p-{p:02d}\tstone bear {p}\ta garden with an old stone bear {p}")
        (root / "images" / f"p-{p:02d}").mkdir(parents=True)
        for v in range(variants):
            pixels = np.random.default_rng(100 * p + v).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / "images" / f"p-{p:02d}" / f"v{v}.png")
    (root / "prompts.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


if __name__ == "__main__":
    import sys

    write_pool(Path(sys.argv[1]))
