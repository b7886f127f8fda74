"""The backend that docs/how-to/add-a-backend.md shows keeps the contract of backends."""

import re
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from toy_jobs import DO, as_submission, toy_context, toy_submission

from orchestrator.backends.protocol import Backend, PlacingBackend, Submission
from orchestrator.backends.registry import load_plugin
from orchestrator.spec.cluster import BUILT_IN
from orchestrator.store.files import FilesStore
from orchestrator.testing.backends import BackendContract, BackendUnderTest, WantedEnding


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def backend(root: Path, home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    """What the plug-in of the guide builds from the files that the guide shows."""
    folder = tmp_path_factory.mktemp("package")
    (folder / "here_backend").mkdir()
    guide = (root / "docs" / "how-to" / "add-a-backend.md").read_text(encoding="utf-8")
    for name, text in re.findall(r"```python\n# (here_backend/\w+\.py)\n(.*?)```", guide, re.DOTALL):
        (folder / name).write_text(text, encoding="utf-8")
    sys.path.append(str(folder))
    try:
        plugin = load_plugin("here", "here_backend.plugin:PLUGIN")
        made = plugin.build(toy_context(home), replace(BUILT_IN, backend="here"))
    finally:
        sys.path.remove(str(folder))
    yield made
    made.close()


class TestGuideBackend(BackendContract):
    @pytest.fixture
    def case(self, home: Path, backend: Backend) -> BackendUnderTest:
        assert isinstance(backend, PlacingBackend)
        (host,) = backend.hosts()

        def submission(wanted: WantedEnding) -> Submission:
            return as_submission(toy_submission(home, DO[wanted]), host.name)

        return BackendUnderTest(
            backend=backend,
            store=FilesStore(home / "store"),
            submission=submission,
            rest=lambda: time.sleep(0.1),
        )
