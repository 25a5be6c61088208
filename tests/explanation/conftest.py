import pytest

import xai.report
from xai.report import save


@pytest.fixture
def coarse_pictures(monkeypatch):
    """The pictures' looks are tested elsewhere; here they only cost time."""
    monkeypatch.setattr(xai.report, "save", lambda figure, path: save(figure, path, dpi=20))
