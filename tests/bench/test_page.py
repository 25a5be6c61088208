"""A run as a page: every number is the record's, every patch in the order of the stream."""

import json

import numpy as np
import pytest
import torch
from bench_runs import CHECKS, EVERYTHING, decoded, grid
from PIL import Image

from xai import metrics
from xai.attr import METHODS
from xai.bench import page_of_run, read_records, summarise
from xai.data import read_image
from xai.report.payload import Page
from xai.stats import map_agreement


def test_values_are_those_of_the_records(everything, page):
    frame = read_records(everything)
    frame = frame[frame["method"] != "greedy"]
    images, seen = {one.id: one for one in page.images}, 0
    for one in frame.to_dict("records"):
        image, key = images[one["image"]], f"{one['metric']}|{one['protocol']}"
        value = image.scores[key][one["method"]]
        assert value == one["value"] or (value is None and np.isnan(one["value"]))
        if key in image.curves:
            assert image.curves[key][one["method"]] == list(one["curve"])
            seen += 1
    assert seen == 5 * 8 * 4 * 7  # images, rows, metrics with a curve, protocols
    assert sum(len(rows) for image in page.images for rows in image.scores.values()) == len(frame)


def test_parts_stand_where_the_summary_has_them(everything, page):
    summary = summarise(everything).as_dict()
    assert json.loads(json.dumps(page.summary.as_dict(), allow_nan=False)) == json.loads(json.dumps(summary))
    assert [(one.metric, one.protocol) for one in page.parts] == [
        (one["metric"], one["protocol"]) for one in summary["parts"]
    ]
    for part, one in zip(page.parts, summary["parts"], strict=True):
        assert part.meaning
        for curve in one["curves"].values() if part.fractions else ():
            assert part.fractions == curve["fractions"]


def test_what_is_redrawn_exactly_and_what_is_not(page):
    parts = {one.key: one for one in page.parts}
    for metric in ("srg", "deletion", "insertion", "lerf"):
        assert parts[f"{metric}|token"].exact
        assert parts[f"{metric}|mean"].exact
        for protocol in ("drawn", "blur", "pixels", "true"):
            assert not parts[f"{metric}|{protocol}"].exact
    assert parts["deletion|grey"].exact
    assert parts["deletion|grey"].operator == "constant"
    assert parts["insertion|grey"].exact
    assert parts["insertion|grey"].operator == "minimum"
    assert parts["insertion|grey"].inserts
    assert not parts["deletion|grey"].inserts
    assert "order drawn is that of token" in parts["srg|drawn"].redrawn
    assert "mean over 3 orders" in parts["srg|drawn"].redrawn
    assert parts["srg|blur"].redrawn == "for the model, removed patches were blurred"
    assert "single pixels" in parts["srg|pixels"].redrawn
    assert "another class" in parts["srg|true"].redrawn
    assert parts["gini|maps"].operator is None
    assert not parts["gini|maps"].fractions


@pytest.mark.parametrize("protocol", ["token", "mean", "grey"])
@pytest.mark.parametrize("row", ["gradient_weighted_attention", "signed", "attention_rollout", "random_1"])
def test_the_orders_are_those_of_the_stream(page, tiny, photos, protocol, row):
    """Oracle: remove the first k patches of the page's order by hand, one forward each."""
    chosen = next(one for one in EVERYTHING["protocols"] if one["name"] == protocol)
    operator = metrics.protocol({k: v for k, v in chosen.items() if k != "insertion_operator"}).operator
    part = next(one for one in page.parts if one.key == f"deletion|{protocol}")
    for image in page.images:
        pixels = tiny.preprocess(read_image(photos / image.name))[None]
        target = tiny.labels.index(image.target)
        order = decoded(image.orders[row])
        assert sorted(order) == list(range(16))
        with torch.no_grad():
            substrate = operator.prepare(tiny, pixels, [0])
            for share, value in zip(part.fractions, image.curves[part.key][row], strict=True):
                removed = torch.zeros(16, dtype=torch.bool)
                removed[order[: round(share * 16)]] = True
                seeds = torch.tensor([0])
                logits = operator.logits(tiny, pixels, substrate, removed.view(1, 4, 4), seeds)[0]
                assert float(logits[target] - logits[1 - target]) == pytest.approx(value, abs=1e-4)


def test_painting_the_fill_gives_what_the_model_saw(page, tiny, photos):
    """As a page does it: the colour as a screen has it, in the place of the first patches of the order."""
    for image in page.images:
        seen = np.array(read_image(photos / image.name).resize((32, 32), Image.Resampling.BICUBIC))
        order, target = decoded(image.orders["signed"]), tiny.labels.index(image.target)
        assert image.fills["constant"] in ("#7f7f7f", "#808080")
        colour = [int(image.fills["mean"][i : i + 2], 16) for i in (1, 3, 5)]
        for patch in order[:4]:
            y, x = divmod(patch, 4)
            seen[8 * y : 8 * y + 8, 8 * x : 8 * x + 8] = colour
        with torch.no_grad():
            logits = tiny(tiny.preprocess(Image.fromarray(seen))[None])[0]
        value = image.curves["deletion|mean"]["signed"][1]
        assert float(logits[target] - logits[1 - target]) == pytest.approx(value, abs=0.02)


def test_maps_answers_and_digests(everything, page, tiny, photos):
    for image in page.images:
        pixels = tiny.preprocess(read_image(photos / image.name))[None]
        shares = tiny(pixels).softmax(1)[0]
        assert image.probabilities == pytest.approx(
            dict(zip(tiny.labels, shares.tolist(), strict=True)), abs=1e-5
        )
        assert image.predicted == tiny.labels[int(shares.argmax())] == image.target
        assert len(image.input_hash) == 64
        relevance = METHODS["attention_rollout"](tiny).attribute_patches(pixels)[0].numpy()
        found = grid(next(iter(image.maps["attention_rollout"].values())))
        assert np.allclose(found, relevance, atol=1e-4 * np.abs(relevance).max())
        assert set(image.maps) == {row.name for row in page.rows}
    names = {label for image in page.images for by_class in image.maps.values() for label in by_class}
    assert names == set(page.classes)


def test_removals_come_from_the_first_protocol(page):
    for image in page.images:
        assert [one.row for one in image.removals] == [
            "gradient_weighted_attention",
            "signed",
            "attention_rollout",
        ]
        for one in image.removals:
            curves = image.curves["deletion|token"]
            assert (one.removed, one.patches, one.operator, one.value) == (4, 16, "token", "margin")
            assert one.top == curves[one.row][1]
            assert one.clean == pytest.approx(curves[one.row][0])
            assert one.random == [curves["random_0"][1], curves["random_1"][1]]
            assert one.target == image.target


def test_agreement_is_that_of_the_maps(page):
    for image in page.images:
        rows = image.agreement.rows
        assert rows == ["gradient_weighted_attention", "signed", "attention_rollout", "center_prior", "sobel",
                        "raw_last_layer"]  # fmt: skip
        maps = np.stack([grid(next(iter(image.maps[row].values()))).ravel() for row in rows])
        found = np.array(image.agreement.spearman, float)
        assert np.allclose(found, map_agreement(maps), atol=0.02, equal_nan=True)
        assert image.disagreement == pytest.approx(
            1 - np.nanmean(found[:3, :3][np.triu_indices(3, 1)]), abs=1e-5
        )


def test_cards_say_what_was_measured(everything, page):
    assert [one.method for one in page.cards] == [
        "gradient_weighted_attention", "attention_rollout", "random", "center_prior", "sobel", "raw_attention"
    ]  # fmt: skip
    cards = {one.method: one for one in page.cards}
    assert cards["random"].needs == ["nothing of the model"]
    assert not cards["random"].deterministic
    assert cards["gradient_weighted_attention"].needs == ["attention", "gradients"]
    summary = summarise(everything)
    for method, name in (("attention_rollout", "attention_rollout"), ("random", "random")):
        for one in cards[method].measured:
            part = next(part for part in summary.parts if part.metric == one.metric)
            assert one.value == part.analysis.method(name).mean
            assert one.images == 2
    assert {one.metric for one in cards["attention_rollout"].measured} == set(CHECKS)
    two = [one for one in cards["gradient_weighted_attention"].measured if one.metric == "infidelity"]
    assert [one.meaning.split(":")[0] for one in two] == ["gradient_weighted_attention", "signed"]
    assert "hardly changes" in next(
        one.meaning for one in cards["attention_rollout"].measured if one.metric == "class_sensitivity"
    )


def test_a_page_is_written_as_data_and_as_html(page):
    assert Page.model_validate_json(page.model_dump_json(by_alias=True)) == page
    assert page.title == "benchmark"
    assert page.shown == (5, 5)
    assert page.provenance["run"]["units"] == "25 of 25"
    assert page.provenance["images_shown"] == "all"


def test_some_images_are_drawn_and_the_rest_stays_the_same(everything, page):
    some = page_of_run(everything, images=2)
    assert some.shown == (2, 5)
    assert some.summary == page.summary
    whole = {one.id: one for one in page.images}
    for one in some.images:
        assert one.scores == whole[one.id].scores
        assert one.orders == whole[one.id].orders
    assert [one.id for one in some.images] == sorted(one.id for one in some.images)
    assert some.provenance["images_shown"] == "drawn at random, seed 0"


def test_which_images_are_drawn_is_the_seed_s(finished):
    drawn = [
        tuple(one.id for one in page_of_run(finished, images=2, seed=seed).images) for seed in (1, 1, 2, 3, 4)
    ]
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) > 1
    assert len(page_of_run(finished, images=None).images) == 5
