"""Check a pool in the Context-as-Memory layout, in folders or in archives; print everything that is wrong with it.

    python -m workloads.data.check /data/context-as-memory
    python -m workloads.data.check /data/context-as-memory --frames 20 --json
    python -m workloads.data.check /data/open-domain          (a folder with prompts.tsv and images/)

The stages refuse a bad pool at its first fault; this goes on to the last, so that a copy is mended once. Nothing is
written. Files, poses, captions and overlap labels are all read; of the pixels, those of `--frames` frames of each
scene, or with `--pixels` of all.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from workloads.data.open_pool import prompt_problems, read_prompts, variants
from workloads.data.pool_checks import parse_captions, pose_problems, read_frame, read_label
from workloads.data.scene_files import Files, frame_name, label_name, names_in, opened, pose_name, scenes_in
from workloads.runtime.errors import BadInput

GOOD, BAD, USAGE = 0, 1, 2
SHOWN = 5  # examples of a kind of fault that are printed; --json has all
PIXELS = 3  # frames of a scene whose pixels are read unless asked otherwise


@dataclass
class Findings:
    """What a check saw."""

    scenes: int = 0
    frames: int = 0
    read: int = 0
    """Frames whose pixels were read."""
    labels: int = 0
    problems: dict[str, list[str]] = field(default_factory=dict)
    """By kind, in the order in which the kinds were met."""

    def add(self, kind: str, message: str) -> None:
        """Remember one fault."""
        self.problems.setdefault(kind, []).append(message)

    @property
    def count(self) -> int:
        """Faults of all kinds."""
        return sum(map(len, self.problems.values()))


def check(root: Path, pixels: int | None = PIXELS) -> Findings:
    """Everything that is wrong with the pool at `root`, of either layout.

    Args:
        pixels: frames of each scene whose pixels are read; None: all.
    """
    found = Findings()
    if (root / "prompts.tsv").is_file():
        _check_open(root, found)
        return found
    try:
        scenes, archived = scenes_in(root)
    except BadInput as problem:
        found.add("scenes", str(problem))
        return found
    if not scenes:
        found.add("scenes", f"{root / 'frames'}: no scenes; a scene is a folder of frames 0000.png on")
    captioned = _check_captions(root, found, set(scenes))
    for scene in scenes:
        try:
            with opened(root, scene, archived=archived) as files:
                _check_scene(files, scene, found, pixels)
        except BadInput as problem:
            found.add("archives", str(problem))
        if scene not in captioned:
            found.add("captions", f"{root / 'captions.txt'}: no line for scene {scene}")
    for path in sorted((root / "jsons").glob("*.json")):
        if not (root / "frames" / path.stem).is_dir():
            found.add("scenes", f"{path}: poses of a scene without frames/{path.stem}; copy the frames too")
    return found


def _check_scene(files: Files, scene: str, found: Findings, pixels: int | None) -> None:
    numbers, sizes = set(), set()
    folder = files / f"frames/{scene}"
    for name in names_in(folder):
        number = name.removesuffix(".png")
        if number == name:
            found.add("other files", f"{folder / name}: not a frame; a scene's folder holds 0000.png on, nothing else")
        elif not number.isdecimal() or f"frames/{scene}/{name}" != frame_name(scene, int(number)):
            found.add("frame names", f"{folder / name}: not the name of a frame; allowed: 0000.png, 0001.png, ...")
        else:
            numbers.add(int(number))
    length = max(numbers, default=-1) + 1
    found.scenes, found.frames = found.scenes + 1, found.frames + len(numbers)
    if not numbers:
        found.add("missing frames", f"{folder}: no frames; they are numbered 0000 on")
    for frame in sorted(set(range(length)) - numbers):
        found.add(
            "missing frames",
            f"{files / frame_name(scene, frame)}: missing frame; frames are numbered 0000 on without gaps",
        )
    for frame in _spread(sorted(numbers), pixels):
        found.read += 1
        try:
            sizes.add(read_frame(files / frame_name(scene, frame)).shape[:2])
        except BadInput as problem:
            found.add("pixels", str(problem))
    if len(sizes) > 1:
        listed = ", ".join(f"{h}x{w}" for h, w in sorted(sizes))
        found.add("frame sizes", f"{folder}: frames of {listed} pixels; a scene has one size")
    for message in pose_problems(files / pose_name(scene), length):
        found.add("poses", message)
    labels = files / f"overlap_labels/{scene}"
    for name in names_in(labels):
        found.labels += 1
        path, number = labels / name, name.removesuffix(".json")
        if not number.isdecimal() or str(path) != str(files / label_name(scene, int(number))) or int(number) >= length:
            found.add("labels", f"{path}: of no frame; the scene has frames 0..{length - 1}, labels 0.json on")
            continue
        try:
            read_label(path, length)
        except BadInput as problem:
            found.add("labels", str(problem))


def _check_captions(root: Path, found: Findings, scenes: set[str]) -> set[str]:
    """The scenes that have a caption."""
    path, captioned = root / "captions.txt", set()
    for parsed in parse_captions(path):
        if isinstance(parsed, str):
            found.add("captions", parsed)
            continue
        scene, start, end, caption = parsed
        captioned.add(scene)
        if scene not in scenes:
            found.add("captions", f"{path}: {scene}/{start}_{end}.mp4 is of a scene without frames/{scene}")
        elif end < start:
            found.add("captions", f"{path}: {scene}/{start}_{end}.mp4 ends before it starts")
        elif not caption.strip():
            found.add("captions", f"{path}: {scene}/{start}_{end}.mp4 has an empty caption")
    return captioned


def _check_open(root: Path, found: Findings) -> None:
    for message in prompt_problems(root):
        found.add("prompts", message)
    if found.problems:
        return
    for name in read_prompts(root):
        try:
            pictures = variants(root, name)
        except BadInput as problem:
            found.add("pictures", str(problem))
            continue
        if not pictures:
            found.add("pictures", f"{root / 'images' / name}: no pictures; they are VARIANT.png")
        for variant in pictures:
            found.scenes, found.frames, found.read = found.scenes + 1, found.frames + 1, found.read + 1
            try:
                read_frame(root / "images" / name / f"{variant}.png")
            except BadInput as problem:
                found.add("pictures", str(problem))


def _spread(numbers: Sequence[int], wanted: int | None) -> Sequence[int]:
    """`wanted` of the numbers, equally spaced, first and last in."""
    if wanted is None or wanted >= len(numbers):
        return numbers
    return [numbers[i] for i in np.linspace(0, len(numbers) - 1, wanted).round().astype(int)]


def report(root: Path, found: Findings) -> Iterator[str]:
    """The findings for people, line by line."""
    yield f"{root}: {found.scenes} scenes, {found.frames} frames ({found.read} read), {found.labels} labels"
    for kind, messages in found.problems.items():
        yield f"{kind}: {len(messages)}"
        yield from (f"  {message}" for message in messages[:SHOWN])
        if len(messages) > SHOWN:
            yield f"  ... and {len(messages) - SHOWN} more (--json lists all)"
    yield "nothing is wrong" if not found.count else f"{found.count} problems"


def as_json(root: Path, found: Findings) -> dict[str, Any]:
    """The findings for programs: every message."""
    return {
        "version": 1,
        "pool": str(root),
        "scenes": found.scenes,
        "frames": found.frames,
        "read": found.read,
        "labels": found.labels,
        "problems": [
            {"kind": kind, "count": len(messages), "messages": messages} for kind, messages in found.problems.items()
        ],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 0 nothing is wrong, 1 something is, 2 bad usage."""
    parser = argparse.ArgumentParser(
        prog="python -m workloads.data.check",
        description="Check a pool in the Context-as-Memory layout, or an open-domain pool; print all that is wrong.",
        epilog="example: python -m workloads.data.check /data/context-as-memory --frames 20\n"
        "exit codes: 0 nothing is wrong · 1 something is · 2 bad usage",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("pool", type=Path, help="the root of the pool: frames/, jsons/, captions.txt; or prompts.tsv")
    parser.add_argument(
        "--frames", type=int, default=PIXELS, help="frames of each scene to read (default: %(default)s)"
    )
    parser.add_argument("--pixels", action="store_true", help="read the pixels of every frame")
    parser.add_argument("--json", action="store_true", help="print one JSON object with every message")
    options = parser.parse_args(arguments)
    if not options.pool.is_dir():
        print(f"{options.pool}: no folder; give the root of a pool", file=sys.stderr)
        return USAGE
    if options.frames < 0:
        print(f"--frames is {options.frames}; allowed: 0 and more", file=sys.stderr)
        return USAGE
    found = check(options.pool, None if options.pixels else options.frames)
    if options.json:
        print(json.dumps(as_json(options.pool, found), indent=1))
    else:
        print("\n".join(report(options.pool, found)))
    return BAD if found.count else GOOD


if __name__ == "__main__":
    sys.exit(main())
