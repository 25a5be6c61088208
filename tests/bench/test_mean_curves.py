"""Mean curves of a run whose records come in any order, in several passes, or without draws."""

import json
from dataclasses import replace

import numpy as np
import pytest
from bench_runs import record

from xai.bench import summarise
from xai.bench.results import mean_curves
from xai.bench.results.score_tables import score_tables
from xai.bench.run.store import Store, WorkResult
from xai.stats import Band, asymptotic, mean_curve

IMAGES, POINTS = 30, 2
METHODS = ("plain", "partial", "random_0", "random_1")


def curve_of(image: int, method: str) -> np.ndarray:
    """Drawn."""
    return np.random.default_rng([image, METHODS.index(method)]).gamma(2, 1, POINTS)


def has_curve(image: int, method: str) -> bool:
    """One method lacks the curves of some images, so it is averaged over others than the rest."""
    return method != "partial" or image % 5 > 0


def expected(method: str, images: list[int], groups: np.ndarray | None, resamples: int) -> Band:
    """As the plain function averages all curves at once."""
    sources = [name for name in METHODS if name.startswith(method)]
    curves = np.stack([np.mean([curve_of(image, name) for name in sources], 0) for image in images])
    mine = None if groups is None else [str(groups[image]) for image in images]
    return mean_curve(curves, [0, 1], groups=mine, resamples=resamples)


@pytest.fixture(params=[False, True], ids=["images", "groups"])
def run(request, finished, tmp_path):
    """A run of four parts into which records are scattered, and the groups of its images."""
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 7, IMAGES) if request.param else None
    records = [
        replace(
            record(image, method, metric, 1.0, curve=tuple(curve_of(image, method))),
            group=f"{image if groups is None else groups[image]:03d}",
        )
        for image in range(IMAGES)
        for method in METHODS
        for metric in ("srg", "deletion")
    ]
    records = [
        one if has_curve(int(one.image), one.method) else replace(one, curve=(), fractions=())
        for one in records
    ]
    keys = ["a", "b", "c", "d"]
    about = json.loads((finished / "run.json").read_text())
    about["plan"] = {"images": IMAGES, "units": [{"key": key, "protocol": "mean"} for key in keys]}
    about["config"]["statistics"]["resamples"] = 200
    (tmp_path / "run.json").write_text(json.dumps(about))
    part_of = rng.integers(0, len(keys), len(records))
    for number, key in enumerate(keys):
        mine = [one for one, part in zip(records, part_of, strict=True) if part == number]
        Store(tmp_path).write(key, WorkResult(tuple(mine)))
    return tmp_path, groups


@pytest.mark.parametrize("held", [1, 2**28], ids=["several passes", "one pass"])
def test_scattered_records_give_the_plain_average(run, held, monkeypatch):
    monkeypatch.setattr(mean_curves, "HELD", held)
    folder, groups = run
    summary = summarise(folder)
    tables = score_tables(folder)
    for table, part in zip(tables, summary.parts, strict=True):
        assert set(part.curves) == {"plain", "partial", "random"}
        for method, band in part.curves.items():
            images = [image for image in map(int, table.images) if has_curve(image, method)]
            plain = expected(method, images, groups, 200)
            assert band.images == len(images)
            for mine, theirs in ((band.mean, plain.mean), (band.low, plain.low), (band.high, plain.high)):
                assert mine == pytest.approx(theirs, rel=1e-10)


def test_curves_that_few_images_decide_are_drawn_after_all(run, monkeypatch):
    folder, _ = run
    drawn = summarise(folder)
    monkeypatch.setattr(mean_curves, "LARGE", 2)  # of so few, each has more than its share of the squares
    assert [part.curves for part in summarise(folder).parts] == [part.curves for part in drawn.parts]
    monkeypatch.setattr(asymptotic, "LARGE", 2)
    monkeypatch.setattr(asymptotic, "SHARE", 1.0)
    for expanded, part in zip(summarise(folder).parts, drawn.parts, strict=True):
        for method, band in expanded.curves.items():
            assert band.mean == part.curves[method].mean
            assert band.low != part.curves[method].low
            width = np.subtract(part.curves[method].high, part.curves[method].low)
            assert (np.abs(np.subtract(band.low, part.curves[method].low)) < 0.3 * width).all()
