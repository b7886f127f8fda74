"""The open-domain pool of the branch return: first frames that somebody collected, one object and prompt each.

```
{root}/prompts.tsv                          prompt id<TAB>object<TAB>prompt, a line a prompt; `#` begins a comment line
{root}/images/{prompt id}/{variant}.png     the object in another place
```
A scene is `{prompt id}-{variant}`: one frame, at pose 0. The judge is told the object's name, so it is a field.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from workloads.runtime.errors import BadInput

NAME = re.compile(r"[A-Za-z0-9_-]+")
VARIANT = re.compile(r"[A-Za-z0-9_]+")  # without a dash: the last one in a scene's name ends the prompt's id
LINE = "prompt id<TAB>object<TAB>prompt"


@dataclass(frozen=True)
class OpenScene:
    """One first frame of the open domain."""

    image: str
    """Path of the picture."""
    object: str
    prompt: str


def read_prompts(root: Path) -> dict[str, tuple[str, str]]:
    """Prompt id to (object, prompt), in the file's order.

    Raises:
        BadInput: the first of `prompt_problems`.
    """
    for problem in prompt_problems(root):
        raise BadInput(problem)
    return {name: (thing, prompt) for _, name, thing, prompt in _lines(root / "prompts.tsv")}


def prompt_problems(root: Path) -> Iterator[str]:
    """Everything wrong with `prompts.tsv`, with line and field."""
    path = root / "prompts.tsv"
    if not path.is_file():
        yield f"{path}: missing; a line is {LINE}"
        return
    seen: set[str] = set()
    try:
        lines = list(_lines(path))
    except UnicodeDecodeError as error:
        yield f"{path}: not UTF-8: {error}"
        return
    if not lines:
        yield f"{path}: no prompts; a line is {LINE}"
    for number, name, thing, prompt in lines:
        if not NAME.fullmatch(name):
            yield f"{path}:{number}: prompt id is {name!r}; allowed: letters, digits, _ and -; a line is {LINE}"
        if not thing or not prompt:
            yield f"{path}:{number}: {'prompt' if thing else 'object'} is empty; a line is {LINE}"
        if name in seen:
            yield f"{path}:{number}: prompt id {name!r} is there already; give each prompt its own"
        seen.add(name)


def variants(root: Path, name: str) -> list[str]:
    """Variants of a prompt, sorted.

    Raises:
        BadInput: no folder, or a picture whose name cannot be part of a scene's.
    """
    folder = root / "images" / name
    if not folder.is_dir():
        raise BadInput(f"{folder}: missing; the pictures of prompt {name!r} are {folder}/VARIANT.png")
    found = sorted(path.stem for path in folder.glob("*.png"))
    for variant in found:
        if not VARIANT.fullmatch(variant):
            raise BadInput(f"{folder / variant}.png: the variant is {variant!r}; allowed: letters, digits and _")
    return found


def read_open(root: Path, data: Mapping[str, Any]) -> dict[str, OpenScene]:
    """The scenes of an open-domain pool: the first `open_prompts` prompts of the file, `open_variants` pictures each.

    Raises:
        BadInput: not the layout, or fewer prompts or pictures than `controls.data` asks for.
    """
    if not root.is_dir():
        raise BadInput(f"paths.open is {str(root)!r}, which is no folder; allowed: prompts.tsv and images/ in it")
    prompts, asked, each = read_prompts(root), int(data["open_prompts"]), int(data["open_variants"])
    if len(prompts) < asked:
        raise BadInput(
            f"{root / 'prompts.tsv'}: {len(prompts)} prompts, controls.data.open_prompts is {asked}; "
            "add some or lower it"
        )
    scenes: dict[str, OpenScene] = {}
    for name in list(prompts)[:asked]:
        found = variants(root, name)
        if len(found) < each:
            raise BadInput(
                f"{root / 'images' / name}: {len(found)} pictures, controls.data.open_variants is {each}; "
                "add some or lower it"
            )
        for variant in found[:each]:
            image = (root / "images" / name / f"{variant}.png").resolve()
            scenes[f"{name}-{variant}"] = OpenScene(str(image), *prompts[name])
    return scenes


def to_json(scenes: Mapping[str, OpenScene]) -> dict[str, Any]:
    """For `pool.json`."""
    return {name: asdict(scene) for name, scene in scenes.items()}


def from_json(raw: Mapping[str, Any]) -> dict[str, OpenScene]:
    """The inverse of `to_json`."""
    return {name: OpenScene(**scene) for name, scene in raw.items()}


def _lines(path: Path) -> Iterator[tuple[int, str, str, str]]:
    """(line number, prompt id, object, prompt); missing fields are empty."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if line.strip() and not line.startswith("#"):
            name, thing, prompt = (*(part.strip() for part in line.split("\t", 2)), "", "")[:3]
            yield number, name, thing, prompt
