"""Geometry, grid, registry, seeds, explanations."""

import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from xai.core import (
    DataError,
    Explanation,
    Geometry,
    ModelError,
    PatchGrid,
    Registry,
    Sample,
    UsageError,
    XaiError,
    derive_seed,
    nearest,
)


def test_importing_the_core_and_the_report_does_not_import_torch() -> None:
    code = "import sys, xai, xai.core, xai.report; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_grid_folds_tokens_row_by_row() -> None:
    grid = PatchGrid(2, 3, prefix=1)
    tokens = np.arange(7)
    assert grid.tokens == 7
    assert grid.to_patches(tokens).tolist() == [[1, 2, 3], [4, 5, 6]]
    with pytest.raises(ModelError, match=r"1 \+ 2×3 = 7 tokens, the model has 8"):
        grid.to_patches(np.arange(8))
    with pytest.raises(ModelError):
        PatchGrid(0, 3)


@pytest.mark.parametrize(
    ("size", "resized", "crop", "box"),
    [
        ((400, 200), (448, 224), (224, 224), (100, 0, 300, 200)),
        ((200, 400), (224, 448), (224, 224), (0, 100, 200, 300)),
        ((300, 300), None, (100, 50), (100, 125, 200, 175)),
        ((100, 50), None, (200, 100), (-50, -25, 150, 75)),
        ((640, 480), (224, 224), None, (0, 0, 640, 480)),
    ],
)
def test_geometry_of_resize_and_crop(size, resized, crop, box) -> None:
    assert Geometry.resize_crop(size, resized, crop).box == pytest.approx(box)


def test_projection_lands_where_the_patch_is_and_nowhere_the_model_did_not_look() -> None:
    geometry = Geometry.resize_crop((400, 200), (448, 224), (224, 224))
    patches = np.zeros((4, 4))
    patches[1, 2] = 5.0
    heat = geometry.project(patches)
    assert heat.shape == (200, 400)
    assert np.isnan(heat[:, :100]).all()
    assert np.isnan(heat[:, 300:]).all()
    y, x = np.unravel_index(np.nanargmax(heat), heat.shape)
    assert 200 <= x < 250  # the third of four patches over 100 … 300
    assert 50 <= y < 100
    assert np.nanmax(heat) == pytest.approx(5, rel=0.05)
    assert heat[y, 110] == 0
    small = geometry.project(patches, (40, 20))
    assert small.shape == (20, 40)
    assert np.isnan(small[:, :10]).all()
    constant = geometry.project(np.full((4, 4), 2.0))
    assert np.nanmin(constant) == pytest.approx(2)
    assert np.nanmax(constant) == pytest.approx(2)


def test_a_crop_is_drawn_on_the_whole_image() -> None:
    crop = Geometry((50, 50), (0, 0, 50, 50)).within((200, 100), (120, 10))
    heat = crop.project(np.ones((2, 2)))
    assert heat.shape == (100, 200)
    seen = ~np.isnan(heat)
    assert seen[10:60, 120:170].all()
    assert seen.sum() == 2500


def test_a_large_projection_is_the_product_of_its_sides() -> None:
    """It is computed some rows at a time."""
    patches = np.random.default_rng(0).standard_normal((37, 21)).astype(np.float32)
    heat = Geometry((1500, 901), (-30, 0, 1400, 901)).project(patches)
    seen = slice(0, 1400)
    down, across = (
        np.clip((np.arange(pixels) + 0.5 - start) / (stop - start) * n - 0.5, 0, n - 1)
        for pixels, start, stop, n in ((901, 0, 901, 37), (1500, -30, 1400, 21))
    )
    along = np.array([np.interp(across, np.arange(21), line) for line in patches])
    expected = np.array([np.interp(down, np.arange(37), column) for column in along.T]).T
    assert heat.shape == (901, 1500) and np.isnan(heat[:, 1400:]).all()
    assert np.allclose(heat[:, seen], expected[:, seen], atol=1e-4)


def test_a_projection_takes_the_memory_of_its_result() -> None:
    geometry, patches = Geometry((1500, 2000), (0, 0, 1500, 2000)), np.ones((16, 16))
    tracemalloc.start()
    heat = geometry.project(patches)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 1.5 * heat.nbytes


def test_a_grid_of_one_patch_can_be_projected() -> None:
    assert np.allclose(Geometry((3, 2), (0, 0, 3, 2)).project(np.array([[7.0]])), 7)


def test_registry_refuses_duplicates_and_names_the_nearest() -> None:
    registry: Registry[int] = Registry("method")
    registry.add("rollout")(1)
    with pytest.raises(ValueError, match="registered already"):
        registry.add("rollout")(2)
    with pytest.raises(UsageError, match="Unknown method 'rolout'.*\n.*Did you mean 'rollout'"):
        registry["rolout"]
    assert dict(registry) == {"rollout": 1}
    assert "rolout" not in registry
    assert nearest("zzz", ["a"]) == "Valid: a."


def test_errors_carry_exit_codes() -> None:
    assert [e("x").exit_code for e in (XaiError, UsageError, ModelError, DataError)] == [1, 2, 3, 3]
    assert str(XaiError("what", "do this")) == "what\n  do this"


def test_seeds_are_stable_and_distinct() -> None:
    assert derive_seed(0, "a") == 8617095791668180470  # from sha256sum
    assert len({derive_seed(s, n) for s in range(10) for n in "abc"}) == 30
    assert derive_seed(1, "ab", "c") != derive_seed(1, "a", "bc")


def test_maps_are_compared_on_one_scale() -> None:
    explanation = Explanation(
        sample=Sample("x", image=None),  # type: ignore[arg-type]
        labels=("real", "fake"),
        logits=np.array([0.0, np.log(3)]),
        maps={"real": np.array([[0.0, 1.0]]), "fake": np.array([[4.0, 2.0]])},
        geometry=Geometry((2, 1), (0, 0, 2, 1)),
        method="m",
    )
    assert explanation.probabilities == pytest.approx({"real": 0.25, "fake": 0.75})
    assert explanation.predicted == "fake"
    assert explanation.scale == 4
    assert explanation.difference("fake", "real").tolist() == [[1.0, 0.25]]
    assert explanation.overlap("fake", "real").tolist() == [[0.0, 0.25]]
    with pytest.raises(UsageError, match="'fake'"):
        explanation.difference("fakes", "real")
