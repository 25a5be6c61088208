import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import jaxtyping
import pytest
from shape_checks import checked_by_need

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# before torch is imported, here and in commands that tests start: tests run in parallel processes, and tiny
# models gain nothing from more threads
os.environ["OMP_NUM_THREADS"] = "1"

jaxtyping.jaxtyped = checked_by_need(
    jaxtyping.jaxtyped
)  # where the option --jaxtyping-packages takes it from

LONG = (
    "bench/test_ray.py",
    "robustness/test_fuzz.py",
    "attr/test_contract.py",
    "docs/test_example_package.py",
    "models/test_fetch_pinned.py",
    "report/browser/test_many_images.py",
    "report/browser/test_page.py",
)
"""Files that take longest are begun first: with `--dist loadfile` none is left for one process at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {Path(__file__).parent / name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path, len(LONG)))


def pytest_collection_finish() -> None:
    """Libraries and tests stay for good: garbage collection, which some tests cause often, skips them."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def browser() -> Iterator["Browser"]:
    """Chromium, one per process; skips where it is missing, but never in continuous integration."""
    from browsing import MISSING, chromium, executable, required  # which few tests need

    if executable() is None:
        pytest.fail(MISSING) if required() else pytest.skip(MISSING)
    yield from chromium()
