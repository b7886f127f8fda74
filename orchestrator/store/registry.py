"""Store registry: stores by name, imported when chosen."""

from collections.abc import Mapping
from pathlib import Path

from orchestrator.errors import StoreError
from orchestrator.requirements import require_libraries
from orchestrator.store.location import StoreLocation
from orchestrator.store.protocol import Store

LIBRARIES: Mapping[str, tuple[str, ...]] = {"files": (), "s3": ("boto3",)}
"""Kind of store -> the modules that it needs on every machine."""


def make_store(location: StoreLocation) -> Store:
    """The store at `location`; nothing is written yet, see `Store.check`.

    Raises:
        StoreError: there is no such kind of store.
        RequirementError: a library that it needs is not installed here.
    """
    if location.kind == "files":
        from orchestrator.store.files import FilesStore

        return FilesStore(Path(location.folder))
    if location.kind == "s3":
        require_libraries(LIBRARIES["s3"], f"the store {location.url}")
        from orchestrator.store.s3.store import S3Store

        return S3Store(location)
    raise StoreError(f"store.kind is {location.kind!r}; allowed are {', '.join(map(repr, LIBRARIES))}")
