"""Weights that others published: safetensors in one file or several shards, read by memory map, tensor by tensor.

A tensor is read when it is asked for and in the type of its file; no file is read whole, nothing is unpickled and
nothing is written. Layouts on disk (diffusers and the original repositories):

| what is there | shards |
|---|---|
| `NAME.safetensors.index.json` | those of its `weight_map`, `{tensor: file}` |
| `NAME-00001-of-00002.safetensors`, ... | all of them |
| `NAME.safetensors` | one |
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from workloads.data.safetensors_files import PICKLES, weight_map
from workloads.data.safetensors_files import open_tensors as open_tensors
from workloads.data.safetensors_files import refuse_unless_finite as refuse_unless_finite
from workloads.runtime.errors import BadInput

FLOATS = ("F32", "F16", "BF16")
"""Types that are loaded into float32 without loss."""

_NUMBERED = re.compile(r"-(\d{5})-of-(\d{5})\.safetensors$")


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor lies, and what its header says."""

    path: Path
    shape: tuple[int, ...]
    kind: str
    """The type as safetensors names it: F32, BF16, ..."""


class Shards:
    """All tensors of a set of safetensors files, by name."""

    def __init__(self, root: Path, files: Mapping[str, Any]) -> None:
        """Args: `root` names the set in messages; `files` are open, by path."""
        self.root = root
        self._files = dict(files)
        self.entries: dict[str, StoredTensor] = {}
        for path, file in self._files.items():
            for name in file.keys():  # noqa: SIM118 - not a mapping
                if name in self.entries:
                    raise BadInput(
                        f"{path}: the tensor {name} is also in {self.entries[name].path.name}; allowed: each tensor "
                        "once; remove the files that do not belong to these weights"
                    )
                header = file.get_slice(name)
                self.entries[name] = StoredTensor(Path(path), tuple(header.get_shape()), str(header.get_dtype()))

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
        listed = weight_map(index) if index.is_file() else None
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
