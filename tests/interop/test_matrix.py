"""What docs/models.md says: of every architecture a default explanation, curves, exact attention."""

import pytest
from architectures import ARCHITECTURES

from benchmarks.matrix import EXACT, examined, explained

pytestmark = pytest.mark.interop

WHERE = "runs in an environment of its own: make test-interop"
pytest.importorskip("torchvision", reason=WHERE)
pytest.importorskip("timm", reason=WHERE)
pytest.importorskip("open_clip", reason=WHERE)

LEAST = {"huggingface": 36, "timm": 56, "open_clip": 16, "torchvision": 6}
LACKING: dict[str, str] = {}
"""Architectures without a default explanation or curves, by what is said of them."""


@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if name not in LACKING])
def test_explained_by_default_with_curves_and_exact_attention(name: str) -> None:
    row = examined({"name": name})
    assert row["errors"] == {}
    assert explained(row)
    assert row["needs"]["pixels"] is None
    attention = row.get("attention", {"compared": 0})
    assert not attention["compared"] or attention["error"] <= EXACT


@pytest.mark.parametrize("name", LACKING)
def test_what_cannot_be_explained_says_why(name: str) -> None:
    assert LACKING[name] in " ".join(examined({"name": name})["errors"].values())


@pytest.mark.parametrize("library", LEAST)
def test_enough_of_a_library_is_explained(library: str) -> None:
    names = [name for name in ARCHITECTURES if name.startswith(f"{library}/")]
    assert len([name for name in names if name not in LACKING]) >= LEAST[library]
