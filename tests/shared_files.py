"""A store in a folder whose users share nothing else, as machines share a bucket."""

from orchestrator.store.files import FilesStore
from orchestrator.testing.checkpoints import FolderCheckpoints
from orchestrator.testing.objects import FolderObjects


class SharedFiles(FilesStore):
    """Lease, requests of runs and checkpoints are in the store too."""

    @property
    def objects(self) -> FolderObjects:  # type: ignore[override]
        return FolderObjects(self.root / "shared")

    @property
    def checkpoints(self) -> FolderCheckpoints:  # type: ignore[override]
        return FolderCheckpoints(self.root / "checkpoints")
