"""A run that attacks segments instead of removing patches, and checks how robust maps are."""

import pytest

from xai.bench import page_of_run, read_records, run_benchmark
from xai.bench.run.estimate import estimate
from xai.bench.run.store import Store
from xai.data import read_image

FEW = {"samples": 1, "iterations": 1}
SEGMENTS = {"base": "tsigos-cells", "name": "segments", "operator": {"name": "attack", **FEW}}
ATTACKED = {"base": "vit-mean", "name": "attacked", "operator": {"name": "adversarial", **FEW}, "steps": 2}


@pytest.fixture(scope="module")
def asked(config):
    return config(
        methods=["gradient_weighted_attention"],
        protocols=[SEGMENTS, ATTACKED],
        metrics=["comprehensiveness", "accuracy_drop"],
        controls={"random_seeds": 1, "sobel": False, "raw_attention": False, "greedy_images": 1},
        checks={"metrics": ["robustness_noise", "unrelated_agreement"], "images": 5},
        shard_size=5,
    )


@pytest.fixture(scope="module")
def folder(asked, tiny, tmp_path_factory):
    out = tmp_path_factory.mktemp("attacks")
    run_benchmark(asked, out, classifier=tiny)
    return out


def test_images_that_the_model_misses_are_excluded_with_the_reason(folder, tiny, photos):
    right = set()
    for number in range(5):
        logits = tiny(tiny.preprocess(read_image(photos / f"{number}.png"))[None])
        if int(logits.argmax()) == (1 if number < 3 else 0):
            right.add(str(number))
    records = read_records(folder)
    assert 0 < len(right) < 5
    assert set(records[records["protocol"] == "segments"]["image"]) == right
    assert set(records[records["protocol"] == "attacked"]["image"]) == set("01234")
    said = {one.image for one in Store(folder).exclusions() if "scores right answers only" in one.reason}
    assert said == set("01234") - right


def test_the_greedy_order_is_not_searched_by_searches(folder):
    records = read_records(folder)
    greedy = records[records["method"].str.startswith("greedy")]
    assert set(greedy["protocol"]) == {"attacked"}


def test_a_page_is_made_of_it(folder):
    assert "segments" in str(page_of_run(folder))


def test_checks_tell_robust_maps_from_those_that_ignore_the_image(folder):
    value = read_records(folder).groupby(["metric", "method"])["value"].mean()
    assert value["unrelated_agreement", "center_prior"] == 1
    assert value["unrelated_agreement", "gradient_weighted_attention"] < 0.95
    if ("robustness_noise", "center_prior") in value:
        assert value["robustness_noise", "center_prior"] == 1


def test_the_estimate_counts_a_search_of_an_image_once(asked, tiny):
    found = estimate(asked, classifier=tiny)
    each = 3 * 3 + 1  # three attacks and the clean image at the least
    assert found.forwards >= each * 5
    planned = found.plan.forwards
    assert found.forwards <= planned
