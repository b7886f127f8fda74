"""Store registry: stores by name, imported when chosen."""

from pathlib import Path

from orchestrator.errors import StoreError
from orchestrator.store.protocol import Store

KINDS = ("files",)


def make_store(kind: str, root: Path, *, check: bool = False) -> Store:
    """The store of `kind` (`store.kind` in cluster/*.yaml) at `root`; `check`: prove first that it can be used.

    Raises:
        StoreError: no such kind, or the check failed; says what is allowed or what to do.
    """
    if kind == "files":
        from orchestrator.store.files import FilesStore

        store = FilesStore(root)
        if check:
            store.check()
        return store
    raise StoreError(f"store.kind is {kind!r}; allowed are {', '.join(map(repr, KINDS))}")
