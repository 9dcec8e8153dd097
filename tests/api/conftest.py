"""One control plane for all tests of a module: each test uses functions with names of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fgd.config import Config
from tests.api.harness import Api, running_api

CONFIG = Config(
    region="testland",
    functions_max=100,
    upload_max_mib=2,
    webhook_urls="https://hooks.test/fgd/",
)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    state_dir: Path = tmp_path_factory.mktemp("state")
    with running_api(state_dir, CONFIG) as running:
        yield running
