"""Weights that others published: safetensors in one file or several shards, read by memory map, tensor by tensor.

A tensor is read when it is asked for and in the type of its file; no file is read whole, nothing is unpickled and
nothing is written. Layouts on disk (diffusers and the original repositories):

| what is there | shards |
|---|---|
| `NAME.safetensors.index.json` | those of its `weight_map`, `{tensor: file}` |
| `NAME-00001-of-00002.safetensors`, ... | all of them |
| `NAME.safetensors` | one |
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from workloads.errors import BadInput

FLOATS = ("F32", "F16", "BF16")
"""Types that are loaded into float32 without loss."""

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
PICKLED = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04")
"""First bytes of what torch.save writes, plain or zipped."""

_NUMBERED = re.compile(r"-(\d{5})-of-(\d{5})\.safetensors$")


@dataclass(frozen=True)
class Entry:
    """Where a tensor lies, and what its header says."""

    path: Path
    shape: tuple[int, ...]
    kind: str
    """The type as safetensors names it: F32, BF16, ..."""


def open_tensors(path: Path) -> Any:
    """The open safetensors file `path`, mapped into memory; its header is read and its length checked.

    Raises:
        BadInput: no such file, a pickle, or a file that is cut off or damaged.
    """
    try:
        with path.open("rb") as file:
            first = file.read(4)
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror}; allowed: a safetensors file") from error
    if path.suffix in PICKLES or first.startswith(PICKLED):
        raise BadInput(
            f"{path}: is a pickle, which can run code when it is read; allowed: safetensors; fetch the weights as "
            "safetensors, or convert the file where you trust it"
        )
    try:
        return safe_open(str(path), framework="pt", device="cpu")
    except SafetensorError as error:
        raise BadInput(
            f"{path}: not readable as safetensors: {error}; the file is cut off or damaged, so fetch or make it again"
        ) from error


def refuse_unless_finite(path: Path, name: str, tensor: Tensor) -> None:
    """Refuse NaN and infinity in the tensor `name` of the file `path`.

    Raises:
        BadInput: there is one; the message counts them.
    """
    # A sum of finite numbers may overflow, but then the slow look decides; a sum that is finite has no NaN in it.
    if bool(tensor.sum().isfinite()):
        return
    odd = int((~tensor.isfinite()).sum())
    if odd:
        raise BadInput(
            f"{path}: the tensor {name} holds {odd} values that are NaN or infinite, of {tensor.numel()}; allowed: "
            "finite numbers; fetch or make the file again"
        )


class Shards:
    """All tensors of a set of safetensors files, by name."""

    def __init__(self, root: Path, files: Mapping[str, Any]) -> None:
        """Args: `root` names the set in messages; `files` are open, by path."""
        self.root = root
        self._files = dict(files)
        self.entries: dict[str, Entry] = {}
        for path, file in self._files.items():
            for name in file.keys():  # noqa: SIM118 - not a mapping
                if name in self.entries:
                    raise BadInput(
                        f"{path}: the tensor {name} is also in {self.entries[name].path.name}; allowed: each tensor "
                        "once; remove the files that do not belong to these weights"
                    )
                header = file.get_slice(name)
                self.entries[name] = Entry(Path(path), tuple(header.get_shape()), str(header.get_dtype()))

    @classmethod
    def open(cls, path: Path, stem: str) -> "Shards":
        """The file `path`, or in the folder `path` the files that are named `stem` and a number.

        Raises:
            BadInput: nothing there, a shard missing, a pickle, a damaged file, a tensor in two files.
        """
        if not path.is_dir():
            if not path.exists():
                raise BadInput(f"{path}: does not exist; allowed: a .safetensors file, or a folder with {stem}*")
            return cls(path, {str(path): open_tensors(path)})
        index = path / f"{stem}.safetensors.index.json"
        listed = _weight_map(index) if index.is_file() else None
        names = sorted(set(listed.values())) if listed is not None else _found(path, stem)
        shards = cls(path, {str(path / name): open_tensors(path / name) for name in names})
        if listed is not None:
            odd = sorted(k for k, v in listed.items() if k not in shards.entries or shards.entries[k].path.name != v)
            if odd:
                raise BadInput(
                    f"{index}: lists {odd[0]} in {listed[odd[0]]}, which does not hold it ({len(odd)} such tensors); "
                    "fetch the folder again"
                )
        return shards

    def read(self, name: str) -> Tensor:
        """The tensor `name` in float32.

        Raises:
            BadInput: NaN or infinity in it.
            KeyError: there is none of this name.
        """
        entry = self.entries[name]
        tensor: Tensor = self._files[str(entry.path)].get_tensor(name).float()
        refuse_unless_finite(entry.path, name, tensor)
        return tensor


def _weight_map(index: Path) -> dict[str, str]:
    try:
        listed = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        odd = [name for name in listed.values() if Path(name).name != name]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"{index}: has no readable weight_map: {error!r}; fetch the folder again") from error
    if odd:
        raise BadInput(f"{index}: weight_map names {odd[0]!r}; allowed: names of files beside it")
    return dict(listed)


def _found(folder: Path, stem: str) -> list[str]:
    names = sorted(p.name for p in folder.glob(f"{stem}*.safetensors") if _belongs(p.name, stem))
    if not names:
        pickles = sorted(p.name for p in folder.glob(f"{stem}*") if p.suffix in PICKLES)
        beside = f" but the pickle {pickles[0]}, which is never read" if pickles else ""
        raise BadInput(f"{folder}: holds no {stem}*.safetensors{beside}; fetch the weights as safetensors")
    numbered = [match for match in map(_NUMBERED.search, names) if match]
    if numbered and len(numbered) < len(names):
        raise BadInput(
            f"{folder}: holds {stem}.safetensors and numbered shards of it; allowed: one or the other; give the file's "
            "own path, or remove the files that do not belong to these weights"
        )
    if numbered and (len({m[2] for m in numbered}) > 1 or {int(m[1]) for m in numbered} != {*_upto(numbered[0][2])}):
        raise BadInput(
            f"{folder}: holds {len(numbered)} shards of {int(numbered[0][2])}: {', '.join(names)}; fetch the missing"
        )
    return names


def _belongs(name: str, stem: str) -> bool:
    return name == f"{stem}.safetensors" or _NUMBERED.sub("", name) == stem


def _upto(count: str) -> range:
    return range(1, int(count) + 1)
