"""Pools from elsewhere: a few bytes that would become gigabytes are refused, and nothing is written outside."""

import struct
import zipfile
import zlib
from pathlib import Path

import pytest

from workloads.data.pool_checks import read_frame
from workloads.data.scene_files import LARGEST, archive_path, frame_name, opened
from workloads.runtime.errors import BadInput

FRAME = frame_name("s", 0)


def archive_of(root: Path, members: dict[str, bytes]) -> None:
    path = archive_path(root, "s")
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def png_of(width: int, height: int) -> bytes:
    """The beginning of a PNG of so many pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = b"IDAT" + zlib.compress(b"\0" * 100)
    chunks = (struct.pack(">I", len(one) - 4) + one + struct.pack(">I", zlib.crc32(one)) for one in (header, pixels))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def test_a_member_that_would_fill_memory_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive_of(tmp_path, {FRAME: b"\0" * 100_000})
    assert LARGEST < 1 << 30
    monkeypatch.setattr("workloads.data.scene_files.LARGEST", 99_999)
    with (
        opened(tmp_path, "s", archived=True) as files,
        pytest.raises(BadInput, match=rf"s\.zip/{FRAME}: has 100000 bytes; allowed: 99999; no frame or label is so"),
    ):
        (files / FRAME).read_bytes()


def test_a_frame_of_a_million_by_a_million_pixels_is_not_decoded(tmp_path: Path) -> None:
    (tmp_path / "frame.png").write_bytes(png_of(1_000_000, 1_000_000))
    with pytest.raises(BadInput, match=r"frame\.png: is too large for a frame: .*; scale the frames down"):
        read_frame(tmp_path / "frame.png")


def test_a_member_with_a_path_out_of_the_archive_is_never_written(tmp_path: Path) -> None:
    archive_of(tmp_path / "pool", {"../../out.png": b"x", "/out.png": b"y", FRAME: b"z"})
    with opened(tmp_path / "pool", "s", archived=True) as files:
        assert (files / FRAME).read_bytes() == b"z"
    assert not list(tmp_path.rglob("out.png"))
