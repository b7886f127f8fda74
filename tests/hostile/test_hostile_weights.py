"""Weights from elsewhere: never a pickle under any name, never a file outside the folder, never a wait."""

import json
import os
import pickle  # noqa: TID251  one is made here, and none is opened
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from workloads.data.local_weights import read_config, weight_files
from workloads.data.safetensors_files import open_tensors, weight_map
from workloads.evaluation.networks.weights import WeightFile, load_into
from workloads.model.shards import Shards
from workloads.runtime.errors import BadInput

ODD_NAMES = ("../outside.safetensors", "/etc/passwd", "a/b.safetensors", "..", "a\0b", "")


class Bomb:
    """Unpickled, it would leave a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.mkdir, (str(self.mark),))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_pickle_under_another_name_is_never_opened(tmp_path: Path, protocol: int) -> None:
    path, mark = tmp_path / "model.safetensors", tmp_path / "ran"
    path.write_bytes(pickle.dumps(Bomb(mark), protocol=protocol))
    with pytest.raises(BadInput, match="is a pickle, which can run code"):
        open_tensors(path)
    with pytest.raises(BadInput, match="is a pickle"):
        Shards.open(tmp_path, "model")
    with pytest.raises(BadInput, match="is a pickle"):
        weight_files(tmp_path, "model")
    with pytest.raises(BadInput, match=r"is a pickle.*weights_only=True"):
        load_into(torch.nn.Linear(1, 1, device="meta"), WeightFile("here", path), {})
    assert not mark.exists()


def test_an_old_pickle_without_a_mark_is_no_safetensors_file(tmp_path: Path) -> None:
    path, mark = tmp_path / "model.safetensors", tmp_path / "ran"
    path.write_bytes(pickle.dumps(Bomb(mark), protocol=0))
    with pytest.raises(BadInput, match="not readable as safetensors"):
        open_tensors(path)
    assert not mark.exists()


@pytest.mark.parametrize("name", ODD_NAMES)
def test_an_index_that_names_files_elsewhere_is_refused_by_all_readers(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "weights"
    folder.mkdir()
    save_file({"a": torch.zeros(1)}, tmp_path / "outside.safetensors")
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": name}}), encoding="utf-8")
    said = "allowed: names of files beside it"
    with pytest.raises(BadInput, match=said):
        weight_map(index)
    with pytest.raises(BadInput, match=said):
        weight_files(folder, "model")
    with pytest.raises(BadInput, match=said):
        Shards.open(folder, "model")


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b"[" * 100_000, b'{"weight_map": []}', b'{"weight_map": {"a": 5}}', b"\xff"]
)
def test_an_index_that_is_none_is_refused_with_its_path(tmp_path: Path, content: bytes) -> None:
    index = tmp_path / "model.safetensors.index.json"
    index.write_bytes(content)
    for read in (lambda: weight_files(tmp_path, "model"), lambda: Shards.open(tmp_path, "model")):
        with pytest.raises(BadInput, match=r"model\.safetensors\.index\.json: has no readable weight_map"):
            read()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 8,
        (1 << 62).to_bytes(8, "little") + b"{}",
        (100_000).to_bytes(8, "little") + b"[" * 100_000,
        (2).to_bytes(8, "little") + b"[]",
        (60).to_bytes(8, "little") + b'{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,36000000]}}'[:60],
    ],
)
def test_a_header_that_lies_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=r"model\.safetensors: not readable as safetensors"):
        open_tensors(path)


def test_pipes_and_folders_are_no_weights(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.safetensors")
    os.mkfifo(tmp_path / "config.json")
    with pytest.raises(BadInput, match="is not a regular file"):
        open_tensors(tmp_path / "model.safetensors")
    with pytest.raises(BadInput, match="is not a regular file"):
        open_tensors(tmp_path)
    with pytest.raises(BadInput, match="is not a regular file"):
        read_config(tmp_path)


@pytest.mark.parametrize("content", [b"[]", b"[" * 100_000, b"\xff", b"null", b"{"])
def test_a_config_that_is_no_object_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(BadInput, match=r"config\.json: not JSON: .*; fetch the folder again"):
        read_config(tmp_path)
