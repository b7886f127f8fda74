"""Crates come from strangers: nothing outside is written or read, and nothing is believed before it is counted."""

import io
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from forging import change_json

from orchestrator.crate.layout import METADATA
from orchestrator.crate.listing import listing_of
from orchestrator.crate.opening import MOST_FILES, opened_crate
from orchestrator.errors import CrateError


def zipped(path: Path, *entries: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(METADATA, "{}")
        for name, content in entries:
            archive.writestr(name, content)
    return path


def link_entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry


def refused(path: Path, **given: int) -> str:
    with pytest.raises(CrateError) as error, opened_crate(path, **given):
        pass
    assert error.value.exit_code == 2
    return str(error.value)


@pytest.mark.parametrize(
    "name", ["../outside", "/outside", "a/../../outside", "a\\..\\outside", "./outside", "a//b", "a\nb"]
)
def test_a_path_outside_the_crate_is_refused(tmp_path: Path, name: str) -> None:
    place = tmp_path / "in"
    place.mkdir()
    assert "is no plain relative path" in refused(zipped(place / "crate.zip", (name, b"x")))
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["crate.zip", "in"]


def test_a_link_in_a_zip_file_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "crate.zip", (link_entry("matrix.yaml"), b"/etc/passwd"))
    assert "'matrix.yaml' is a link or no plain file" in refused(path)


def test_a_link_in_a_folder_is_refused(crate: Path) -> None:
    (crate / "report" / "extra").symlink_to("/etc")
    assert "'report/extra' is a link or no plain file" in refused(crate)


def test_a_zip_bomb_is_stopped_by_what_comes_out_and_not_by_what_it_says(tmp_path: Path) -> None:
    path = zipped(tmp_path / "crate.zip", ("zeros", bytes(4 << 20)))
    assert path.stat().st_size < 10_000
    assert refused(path, most_bytes=1 << 20) == f"{path}: its files have more than 1048576 bytes; allowed: 1048576"


def test_a_folder_with_too_much_in_it_is_refused(crate: Path) -> None:
    assert "its files have more than 1000 bytes" in refused(crate, most_bytes=1000)
    assert MOST_FILES == 200_000


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ((("a", b"1"), ("a", b"2")), "'a' is in it twice"),
        ((("a", b"1"), ("a/b", b"2")), "'a"),
    ],
)
def test_a_name_twice_is_refused(tmp_path: Path, entries: tuple[tuple[str, bytes], ...], said: str) -> None:
    assert said in refused(zipped(tmp_path / "crate.zip", *entries))


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flipped(content: bytes) -> bytes:
    at = content.index(b"matrix.yaml") + 20
    return content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :]


@pytest.mark.parametrize("damage", [cut, flipped, lambda _content: b"PK", lambda _content: b""])
def test_a_damaged_zip_file_is_refused(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = zipped(tmp_path / "crate.zip", ("matrix.yaml", bytes(range(256)) * 40))
    path.write_bytes(damage(path.read_bytes()))
    assert f"{path}: is no zip file that can be read" in refused(path)


def test_what_is_no_crate_is_refused(tmp_path: Path) -> None:
    assert "no such crate" in refused(tmp_path / "nothing.zip")
    assert f"has no {METADATA}" in refused(tmp_path)
    other = tmp_path / "other.zip"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("a", "b")
    assert f"has no {METADATA}" in refused(other)


def test_a_crate_with_a_folder_around_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "crate.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"study-1.0/{METADATA}", "{}")
    with opened_crate(path) as folder:
        assert (folder / METADATA).read_text(encoding="utf-8") == "{}"
    assert not folder.exists()


@pytest.mark.parametrize(
    ("entity", "said"),
    [
        ({"@id": "../../etc/passwd", "@type": "File"}, "outside the crate"),
        ({"@id": "%2e%2e/secret", "@type": "File"}, "outside the crate"),
        ({"@id": "matrix.yaml", "@type": ["File"]}, "'matrix.yaml' twice"),
    ],
)
def test_metadata_that_name_other_files_are_refused(crate: Path, entity: object, said: str) -> None:
    change_json(crate / METADATA, lambda content: content["@graph"].append(entity))
    with pytest.raises(CrateError, match=said):
        listing_of(crate)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"@graph": 1}', b"\xff", b"[" * 100_000])
def test_broken_metadata_are_refused(crate: Path, content: bytes) -> None:
    (crate / METADATA).write_bytes(content)
    with pytest.raises(CrateError, match="is not as `export` writes it"):
        listing_of(crate)


def test_an_encrypted_zip_file_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO(zipped(tmp_path / "crate.zip", ("a", b"x")).read_bytes())
    content = bytearray(buffer.getvalue())
    for header, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = content.rindex(header)
        content[start + flags] |= 1
    (tmp_path / "crate.zip").write_bytes(bytes(content))
    assert "is no zip file that can be read" in refused(tmp_path / "crate.zip")
