import numpy as np
import pytest


@pytest.fixture(autouse=True)
def same_numbers_alone_and_together(request, monkeypatch):
    """A module's random numbers do not depend on which of its tests ran before."""
    if hasattr(request.module, "RNG"):
        monkeypatch.setattr(request.module, "RNG", np.random.default_rng(0))
