"""Files of weights, opened so that nothing in them can run, and read by memory map: safetensors alone.

The one place where such a file is opened, whoever made it: a stage of ours, a user, or a published folder.
"""

import stat
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from workloads.contract.json_files import object_of, read_plain
from workloads.runtime.errors import BadInput

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
PICKLED = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04")
"""First bytes of what torch.save writes, plain or zipped."""
LARGEST_INDEX = 64 << 20  # bytes; that of a model of 1,000 shards has 10 MiB


def open_tensors(path: Path, *, asked: str = "", remedy: str = "") -> Any:
    """The open safetensors file `path`, mapped into memory; its header is read and its length checked.

    Args:
        path: the file.
        asked: the setting that asks for it, for messages.
        remedy: what to do about a pickle.

    Raises:
        BadInput: no such file, not a regular file, a pickle, or a file that is cut off or damaged.
    """
    where = f"{path}: {asked}" if asked else f"{path}"
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise BadInput(f"{where}: is not a regular file; allowed: a safetensors file")
        with path.open("rb") as file:
            first = file.read(4)
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) else error
        raise BadInput(f"{where}: cannot be read: {said}; allowed: a safetensors file") from error
    if path.suffix in PICKLES or first.startswith(PICKLED):
        remedy = remedy or "fetch the weights as safetensors, or convert the file where you trust it"
        raise BadInput(f"{where}: is a pickle, which can run code when it is read; allowed: safetensors; {remedy}")
    try:
        return safe_open(str(path), framework="pt", device="cpu")
    except (SafetensorError, OSError) as error:
        raise BadInput(
            f"{where}: not readable as safetensors: {error}; the file is cut off or damaged, so fetch or make it again"
        ) from error


def weight_map(index: Path) -> dict[str, str]:
    """Tensor -> file beside `index`, as its `weight_map` says.

    Raises:
        BadInput: no JSON, no such map, or a name that is not of a file beside it.
    """
    try:
        listed = object_of(read_plain(index, LARGEST_INDEX), index)["weight_map"]
        odd = [
            name for name in listed.values() if name in ("", "..") or Path(name).name != name or not name.isprintable()
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"{index}: has no readable weight_map: {error!r}; fetch the folder again") from error
    if odd:
        raise BadInput(f"{index}: weight_map names {odd[0]!r}; allowed: names of files beside it")
    return dict(listed)


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
