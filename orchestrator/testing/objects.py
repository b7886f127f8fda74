"""The contract suite of shared objects, and objects in a local folder, for tests of what uses them."""

import secrets
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orchestrator.errors import ArtifactMissing
from orchestrator.store.link import create_once
from orchestrator.store.protocol import ObjectEntry, SharedObjects


class FolderObjects:
    """Objects as files below `root`; a key is a path."""

    def __init__(self, root: Path) -> None:
        self.root = root
        """The folder."""

    def create(self, key: str, content: bytes) -> bytes:
        """Create an object unless it exists; returns what is there afterwards."""
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        return create_once(path, content, secrets.token_hex(8))

    def put(self, key: str, content: bytes) -> None:
        """Write an object, whatever is there."""
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
        temporary.write_bytes(content)
        temporary.replace(path)

    def get(self, key: str) -> bytes:
        """The content of an object."""
        try:
            return (self.root / key).read_bytes()
        except FileNotFoundError as error:
            raise ArtifactMissing(f"{self.root / key}: no such object") from error

    def entries(self, prefix: str) -> list[ObjectEntry]:
        """All objects whose keys begin with `prefix`."""
        found = []
        for path in sorted(self.root.rglob("*")):
            key = path.relative_to(self.root).as_posix()
            if path.is_file() and not path.name.startswith(".") and key.startswith(prefix):
                about = path.stat()
                tag = sha256(path.read_bytes()).hexdigest()
                found.append(ObjectEntry(key=key, size=about.st_size, tag=tag, modified=about.st_mtime))
        return found

    def delete(self, keys: Collection[str]) -> None:
        """Delete objects; those that do not exist are skipped."""
        for key in keys:
            (self.root / key).unlink(missing_ok=True)


class ObjectsContract:
    """What shared objects promise (orchestrator/store/protocol.py).

    The fixtures `objects` and `other` are two clients of one empty place.
    """

    def test_what_was_put_is_read_by_the_other_and_may_be_replaced(
        self, objects: SharedObjects, other: SharedObjects
    ) -> None:
        """What was put is read by the other and may be replaced."""
        objects.put("lease/1.json", b"one")
        assert other.get("lease/1.json") == b"one"
        objects.put("lease/1.json", b"two")
        assert other.get("lease/1.json") == b"two"

    def test_an_object_that_does_not_exist(self, objects: SharedObjects) -> None:
        """An object that does not exist."""
        with pytest.raises(ArtifactMissing, match="nothing"):
            objects.get("nothing")
        objects.delete(["nothing"])
        assert list(objects.entries("")) == []

    def test_of_many_that_create_one_wins_and_all_read_its_bytes(
        self, objects: SharedObjects, other: SharedObjects
    ) -> None:
        """Of many that create one wins and all read its bytes."""
        clients = (objects, other)
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda n: clients[n % 2].create("lease/2.json", b"%d" % n), range(16)))
        assert len(set(answers)) == 1
        assert answers[0] == objects.get("lease/2.json")
        assert objects.create("lease/2.json", b"late") == answers[0]

    def test_entries_are_those_below_a_prefix_and_their_tags_follow_the_content(self, objects: SharedObjects) -> None:
        """Entries are those below a prefix and their tags follow the content."""
        for number in range(3):
            objects.put(f"asked/{number}.json", b"x" * number)
        objects.put("lease/1.json", b"other")
        found = objects.entries("asked/")
        assert [(entry.key, entry.size) for entry in found] == [(f"asked/{number}.json", number) for number in range(3)]
        assert all(entry.modified > 1e9 for entry in found)
        objects.put("asked/2.json", b"yy")
        again = objects.entries("asked/")
        assert [entry.tag for entry in again[:2]] == [entry.tag for entry in found[:2]]
        assert again[2].tag != found[2].tag
        objects.delete([entry.key for entry in found])
        assert [entry.key for entry in objects.entries("")] == ["lease/1.json"]


if TYPE_CHECKING:
    _: SharedObjects = FolderObjects(Path())
