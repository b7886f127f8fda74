"""Store registry: stores by name, imported when chosen."""

from pathlib import Path

from orchestrator.errors import StoreError
from orchestrator.store.location import StoreLocation
from orchestrator.store.protocol import Store

KINDS = ("files",)


def make_store(location: StoreLocation) -> Store:
    """The store at `location`; nothing is written yet, see `Store.check`.

    Raises:
        StoreError: there is no such kind of store.
    """
    if location.kind == "files":
        from orchestrator.store.files import FilesStore

        return FilesStore(Path(location.folder))
    raise StoreError(f"store.kind is {location.kind!r}; allowed are {', '.join(map(repr, KINDS))}")
