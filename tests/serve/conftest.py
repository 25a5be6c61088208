from collections.abc import Iterator

import pytest
from serving import Heard, tiny_bench

from xai.serve.workbench import Workbench


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture(scope="session")
def shared() -> Iterator[tuple[Workbench, Heard]]:
    """A workbench with its model loaded, which takes its time, and what it tells."""
    heard = Heard()
    made = tiny_bench(heard)
    yield made, heard
    made.close()


@pytest.fixture
def bench(shared, heard) -> Iterator[Workbench]:
    """The shared workbench without images; it tells `heard`, as if it were new."""
    made, told = shared
    told.clear()
    told.follower = heard
    yield made
    for image in list(made.images):
        made.remove(image)
    made.files.clear()
    told.follower = None
