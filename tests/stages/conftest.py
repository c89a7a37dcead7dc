"""Stages of these tests are forked off a warm worker; tests/pipelines starts them cold."""

from collections.abc import Iterator

import pytest

from pipelines.warm_worker import attached_worker
from stages.warm import ADDRESS


@pytest.fixture(scope="module", autouse=True)
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A warm worker in the environment: the imports of a hundred cold stages take long."""
    log = tmp_path_factory.mktemp("worker") / "worker.log"
    with attached_worker(log) as address, pytest.MonkeyPatch.context() as patch:
        patch.setenv(ADDRESS, str(address))
        yield
