"""Artifacts that the MLflow UI serves: files of one study's folder, and nothing that a location or a link leads to.

Whoever may write to MLflow's database chooses where the artifacts of a run are, and MLflow reads any file and any
bucket that the user of its server may read. Only a UI process imports this file, and with it mlflow.
"""

from pathlib import Path
from typing import Any, ClassVar

from mlflow.entities import FileInfo
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED
from mlflow.store.artifact.artifact_repository_registry import get_registered_artifact_repositories
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository


class HomeArtifacts(LocalArtifactRepository):  # type: ignore[misc]
    """MLflow's repository of local files, inside `home`."""

    home: ClassVar[Path]
    """The study's folder, resolved."""

    def __init__(self, artifact_uri: str, tracking_uri: str | None = None, registry_uri: str | None = None) -> None:
        """Refuse a location outside `home`."""
        super().__init__(artifact_uri, tracking_uri, registry_uri)
        self._inside(None)

    def get_local_path(self, artifact_path: str) -> str:
        """The file that is opened, with no link left in its path."""
        super().get_local_path(artifact_path)
        return str(self._inside(artifact_path))

    def download_artifacts(self, artifact_path: str, dst_path: str | None = None) -> Any:
        """See `LocalArtifactRepository`."""
        self._inside(artifact_path)
        return super().download_artifacts(artifact_path, dst_path)

    def _download_file(self, remote_file_path: str, local_path: str) -> Any:
        self._inside(remote_file_path)
        return super()._download_file(remote_file_path, local_path)

    def download_trace_data(self) -> Any:
        """See `LocalArtifactRepository`."""
        for path in Path(self.artifact_dir).glob("*"):
            self._inside(path.name)
        return super().download_trace_data()

    def list_artifacts(self, path: str | None = None) -> list[FileInfo]:
        """Those inside `home`: a link that leads out of it is not even listed."""
        self._inside(path)
        found: list[FileInfo] = super().list_artifacts(path)
        return [one for one in found if self._is_inside(one.path)]

    def _get_or_create_artifact_dir(self, artifact_path: str | None = None) -> Any:
        self._inside(artifact_path)
        return super()._get_or_create_artifact_dir(artifact_path)

    def delete_artifacts(self, artifact_path: str | None = None) -> Any:
        """See `LocalArtifactRepository`."""
        self._inside(artifact_path)
        return super().delete_artifacts(artifact_path)

    def _is_inside(self, path: str | None) -> bool:
        return (Path(self.artifact_dir) / (path or "")).resolve().is_relative_to(self.home)

    def _inside(self, path: str | None) -> Path:
        if not self._is_inside(path):
            raise MlflowException(
                f"{path or self.artifact_dir} lies outside {self.home}, and `echo-matrix ui` serves nothing else",
                error_code=PERMISSION_DENIED,
            )
        return (Path(self.artifact_dir) / (path or "")).resolve()


def serve_only(home: Path) -> None:
    """From now on this process reads and writes artifacts below `home` alone, and those of no bucket or server."""
    HomeArtifacts.home = home.resolve()
    repositories = get_registered_artifact_repositories()
    repositories.clear()
    repositories.update({"": HomeArtifacts, "file": HomeArtifacts})
