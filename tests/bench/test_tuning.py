"""Tuning: the search is exact, and what it reports is a gain on images it did not choose by."""

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from xai.attr import create
from xai.bench import method_config, tune
from xai.bench.results.tuning import _cross_validate, candidates, defaults
from xai.bench.run.masks import input_mask
from xai.core import DataError, Margin, UsageError
from xai.data import read_image
from xai.metrics import average_precision, evaluate
from xai.stats import phrase_comparison


@pytest.fixture(scope="module")
def tuned(config, tiny):
    return tune(config(), classifier=tiny, folds=3)


def test_the_winner_has_the_score_that_the_metric_gives_it(tuned, config, tiny, photos) -> None:
    """Mean over groups, recomputed image by image with the method itself."""
    best, scores = tuned.candidates[0], {}
    method = create("gradient_weighted_attention", tiny, **best.options)
    for number in range(5):
        pixels = tiny.preprocess(read_image(photos / f"{number}.png"))[None]
        target = int(tiny(pixels).argmax())
        relevance = method.attribute_patches(pixels, Margin(target))[None]
        found = evaluate(tiny, ["srg"], pixels, relevance, target, {"base": "vit-mean", "steps": 4})
        scores.setdefault(number // 2, []).append(float(found["srg"].value))
    expected = np.mean([np.mean(of_group) for of_group in scores.values()])
    assert best.mean == pytest.approx(expected, abs=1e-4)
    assert best.options == tuned.best
    assert [one.mean for one in tuned.candidates] == sorted((c.mean for c in tuned.candidates), reverse=True)


def test_maps_may_be_tuned_to_lie_in_masks(config, tiny, photos) -> None:
    """Of the five images three have a mask that marks something; recomputed with the method itself."""
    found = tune(config(), metric="average_precision", classifier=tiny, folds=2)
    method = create("gradient_weighted_attention", tiny, **found.best)
    scores: dict[int, list[float]] = {}
    for number in range(3):
        sample = read_image(photos / f"{number}.png")
        pixels, geometry = tiny.preprocess(sample)[None], tiny.preprocessing.geometry(sample.size)
        relevance = method.attribute_patches(pixels, Margin(int(tiny(pixels).argmax())))
        marked = np.asarray(Image.open(photos / f"{number}_mask.png")) > 127
        mask = torch.from_numpy(input_mask(marked, geometry, (32, 32)))[None]
        scores.setdefault(number // 2, []).append(float(average_precision(relevance, mask)))
    assert (found.images, found.metric, found.forwards) == (3, "average_precision", 0)
    assert found.candidates[0].mean == pytest.approx(np.mean([np.mean(one) for one in scores.values()]))


def test_what_options_are_not_tuned_for_is_refused(config, tiny) -> None:
    with pytest.raises(UsageError, match="not tuned for 'deletion'"):
        tune(config(), metric="deletion", classifier=tiny)


def test_what_is_reported(tuned) -> None:
    assert tuned.images == 5
    assert tuned.folds == 3
    assert sum(one.folds for one in tuned.candidates) == 3
    assert tuned.gain.verdict.blocks == 3
    assert tuned.gain.names == ("tuned", "default")
    assert tuned.optimism >= 0
    written = yaml.safe_load(yaml.safe_dump(dict(method_config(tuned))))
    assert written["options"] == tuned.best
    assert written["tuned"]["held_out_gain"]["mean"] == tuned.gain.difference
    assert tuned.as_dict()["gain"]["verdict"] == phrase_comparison(tuned.gain)


def test_choosing_among_noise_gains_nothing_on_images_not_seen() -> None:
    random = np.random.default_rng(0)
    gains, optimism = [], []
    for seed in range(200):
        scores = random.normal(size=(20, 50))
        groups = np.array([str(i) for i in range(20)])
        held_out, _ = _cross_validate(scores, groups, list(groups), 5, seed)
        gains.append(held_out.mean() - scores[:, 0].mean())
        optimism.append(scores.mean(0).max() - scores[:, 0].mean())
    assert abs(np.mean(gains)) < 0.06
    assert np.mean(optimism) > 0.4


def test_a_better_candidate_is_found_and_its_gain_is_right() -> None:
    scores = np.random.default_rng(1).normal(size=(30, 8))
    scores[:, 5] += 3
    groups = np.array([str(i) for i in range(30)])
    held_out, winners = _cross_validate(scores, groups, list(groups), 5, 0)
    assert winners == [5] * 5
    np.testing.assert_array_equal(held_out, scores[:, 5])


def test_a_group_never_chooses_for_itself() -> None:
    """Candidate g is splendid on group g alone: chosen by others, it must not be credited for it."""
    groups = np.array([str(i // 4) for i in range(24)])
    scores = np.zeros((24, 6))
    for place, group in enumerate(groups):
        scores[place, int(group)] = 100.0
    held_out, _ = _cross_validate(scores, groups, sorted(set(groups)), 6, 0)
    assert held_out.max() == 0


@pytest.mark.parametrize("depth", [1, 2, 4, 6, 12])
def test_candidates_are_distinct_and_hold_the_default(depth: int) -> None:
    found = candidates(depth)
    assert defaults(depth) in found
    assert len({tuple(map(str, one.values())) for one in found}) == len(found)
    single = [one for one in found if one["layers"] == "last_layer"]
    assert {one["layer_fusion"] for one in single} == {"mean"}


def test_reading_all_rows_of_the_last_layer_is_no_choice(tiny) -> None:
    """Rows that the classifier does not read carry no gradient there, so both rank patches alike."""
    pixels = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    orders = [
        create("gradient_weighted_attention", tiny, layers="last_layer", clamp=None, rows=rows)
        .attribute_patches(pixels, 1)
        .flatten(1)
        .argsort(1)
        for rows in ("read_out", "all")
    ]
    assert torch.equal(*orders)
    assert {one["rows"] for one in candidates(6) if one["layers"] == "last_layer"} == {"read_out"}


def test_wrong_questions_are_told(config, tiny) -> None:
    with pytest.raises(UsageError, match="at least 2"):
        tune(config(), classifier=tiny, folds=1)
    with pytest.raises(UsageError, match="no protocol 'meen'"):
        tune(config(), classifier=tiny, protocol="meen")
    with pytest.raises(DataError, match="1 group"):
        tune(config(), classifier=tiny, images=2)
