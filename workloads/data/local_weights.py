"""Pretrained weights in a folder of this machine: found, whole and finite, or refused with the path.

Nothing is ever fetched, and nothing is unpickled: weights are safetensors. Where the folder lies is no part of the
study; it comes from `paths:` of the cluster file.
"""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from workloads.contract.json_files import read_object
from workloads.data.safetensors_files import PICKLES, open_tensors, weight_map
from workloads.runtime.errors import BadInput


def folder_of(paths: Mapping[str, str], name: str, key: str, what: str) -> Path:
    """The folder that `paths` gives for `name`.

    Args:
        key: the setting that asks for it, with its value, for the message.
        what: what the folder holds.

    Raises:
        BadInput: no path, or no folder there.
    """
    if name not in paths:
        raise BadInput(
            f"{key} needs {what}, but no path of it is known; "
            f"write `paths: {{{name}: /models/...}}` in the cluster file (cluster/local.yaml)"
        )
    folder = Path(paths[name])
    if not folder.is_dir():
        raise BadInput(f"paths.{name} is {str(folder)!r}, which is no folder on this machine; allowed: {what}")
    return folder


def read_config(folder: Path) -> dict[str, Any]:
    """`config.json` of a model's folder.

    Raises:
        BadInput: missing, or no JSON object.
    """
    path = folder / "config.json"
    try:
        return read_object(path)
    except FileNotFoundError as error:
        raise BadInput(f"{path}: missing; give the folder as it is published, with its config.json") from error
    except (OSError, ValueError) as error:
        raise BadInput(f"{path}: not JSON: {error}; fetch the folder again") from error


def weight_files(folder: Path, stem: str) -> list[Path]:
    """The safetensors files of a model: `{stem}.safetensors`, or the shards that its index lists; each can be opened.

    Raises:
        BadInput: none, pickles only, a shard that is missing, a file that is not whole.
    """
    single, index = folder / f"{stem}.safetensors", folder / f"{stem}.safetensors.index.json"
    if single.is_file():
        files = [single]
    elif index.is_file():
        names = sorted(set(weight_map(index).values()))
        files = [folder / name for name in names]
    else:
        pickles = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES)
        if pickles:
            raise BadInput(
                f"{folder / pickles[0]}: a pickle, which is never opened because it can run any code; "
                f"allowed: {stem}.safetensors or its shards with {index.name}"
            )
        raise BadInput(f"{single}: missing; allowed: {stem}.safetensors or its shards with {index.name}")
    for path in files:
        if not path.is_file():
            raise BadInput(f"{path}: missing, but {index.name} names it; fetch the file again")
        open_tensors(path)
    return files


def digest_of(files: Iterable[Path]) -> str:
    """sha256 over the files, in order: which weights something was computed with."""
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def check_finite(named: Iterable[tuple[str, Tensor]], where: Path) -> None:
    """Refuse weights with a number that is none.

    Raises:
        BadInput: NaN or infinity, with path and parameter.
    """
    for name, value in named:
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise BadInput(f"{where}: {name} holds NaN or infinity; fetch the weights again")


def check_keys(missing: Iterable[str], extra: Iterable[str], where: Path) -> None:
    """Refuse weights that are not exactly the model's: a missing one would stay at its random first value.

    Raises:
        BadInput: with path and the first key that is missing or extra.
    """
    lacking, beyond = sorted(missing), sorted(extra)
    if lacking or beyond:
        found = f"{lacking[0]} is missing" if lacking else f"{beyond[0]} is not of this model"
        count = len(lacking) + len(beyond)
        raise BadInput(f"{where}: {found} ({count} such keys); give the weights that belong to its config.json")
