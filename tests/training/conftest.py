"""The tiny pool that training tests share."""

import pytest
import torch
from tiny_training import make_pool


@pytest.fixture(scope="session")
def pool(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Folders of latents and index, read-only."""
    torch.set_num_threads(1)
    return make_pool(tmp_path_factory.mktemp("pool"))
