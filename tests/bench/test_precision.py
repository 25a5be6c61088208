"""Runs in bfloat16: their error is measured, resumed, stated and allowed for; float32 runs are as ever."""

import json
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
import torch
from pydantic import ValidationError

from xai.bench import (
    compare_runs,
    estimate,
    make_plan,
    page_of_run,
    read_records,
    read_run,
    run_benchmark,
    status,
    summarise,
    to_markdown,
)
from xai.bench.run import precision
from xai.bench.run.context import RunContext
from xai.bench.run.items import PRECISION
from xai.bench.run.plan import MEASURED, measured_images
from xai.bench.run.precision import PrecisionChoice, choose_precision, has_bfloat16
from xai.bench.run.store import Store
from xai.core import ConfigError
from xai.stats import Outcome, to_json

KEY = ["image", "method", "metric", "protocol"]


@pytest.fixture(scope="module")
def low(config, tiny, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("low")
    run_benchmark(config(precision="bfloat16", metrics=["srg", "deletion", "gini"]), out, classifier=tiny)
    return out


def test_the_records_are_those_of_autocast(low, config, tiny, tmp_path) -> None:
    run_benchmark(config(autocast="bfloat16", metrics=["srg", "deletion", "gini"]), tmp_path, classifier=tiny)
    timed = ["seconds"]
    first, second = (read_records(run).sort_values(KEY, ignore_index=True) for run in (low, tmp_path))
    pd.testing.assert_frame_equal(first.drop(columns=timed), second.drop(columns=timed))


def test_full_precision_beside_it_is_that_of_a_float32_run(low, finished) -> None:
    """All five images are measured, and stay out of the records."""
    store = Store(low)
    exact, full = store.table(exact=True).to_pandas(), read_records(finished)
    both = exact.merge(full, on=KEY, validate="one_to_one")
    assert len(both) == len(exact) == len(full)
    assert (both["value_x"] - both["value_y"]).abs().max() < 1e-5
    assert len(read_records(low)) == status(low).records == store.totals()[1]
    assert status(low).protocols[PRECISION] == (5, 5)
    assert (read_records(low).groupby(KEY).size() == 1).all()


def test_the_error_in_the_summary_is_low_minus_full(low, finished) -> None:
    found = summarise(low)
    srg = next(one for one in found.parts if one.metric == "srg")
    assert srg.analysis.precision.dtype == "bfloat16"
    assert srg.analysis.precision.images == 5
    assert srg.analysis.precision.blocks == 3
    records = {name: read_records(run) for name, run in (("low", low), ("full", finished))}
    for method, error in srg.analysis.precision.errors.items():
        values = {
            name: one[(one["metric"] == "srg") & one["method"].str.fullmatch(rf"{method}(_\d+)?")]
            .groupby("image")["value"]
            .mean()
            for name, one in records.items()
        }
        assert error.bias == pytest.approx((values["low"] - values["full"]).mean(), abs=1e-6)
        assert error.spread == pytest.approx((values["low"] - values["full"]).std(), abs=1e-6)
    assert next(one for one in found.parts if one.metric == "gini").analysis.precision is None


def test_it_is_said_everywhere(low) -> None:
    found = summarise(low)
    text = to_markdown(found)
    assert "Perturbed images were computed in bfloat16, and on 5 images in full precision too" in text
    assert "minus those in full precision" in text
    assert "精度" in to_markdown(found, "zh")
    content = found.as_dict()["parts"][0]["analysis"]
    assert content["precision"]["images"] == 5
    assert {"imprecise", "tolerance"} <= set(content["pairs"][0])
    page = page_of_run(low)
    assert "bfloat16" in json.dumps(to_json(page.summary))
    assert read_run(low).sessions[-1].content["autocast"] == "bfloat16"


def test_a_large_error_holds_verdicts_back(low, tmp_path, monkeypatch) -> None:
    """The same run, had full precision come out elsewhere: no comparison is left."""
    records_of = Store.records_of

    def shifted(self, key, columns):
        table = records_of(self, key, columns)
        if key in self.done(exact=True):
            frame = table.to_pandas()
            moved = (frame["method"] == "attention_rollout") * 100.0
            values = frame["value"] + moved * (1 + 0.1 * frame["image"].cat.codes)
            place = table.schema.get_field_index("value")
            table = table.set_column(place, table.schema.field(place), pa.array(values))
        return table

    monkeypatch.setattr(Store, "records_of", shifted)
    for part in summarise(low, alpha=0.49).parts:
        if part.metric == "gini":
            continue
        assert part.analysis.precision.tolerance > 100
        concerned = [p for p in part.analysis.pairs if "attention_rollout" in (p.first, p.second)]
        assert concerned
        assert not any(pair.distinguishable for pair in concerned)


def test_float32_runs_are_planned_as_ever(config, tiny, low, finished) -> None:
    plain, said = (make_plan(config(**more), tiny) for more in ({}, {"precision": "float32"}))
    assert [one.key for one in plain.work_items] == [one.key for one in said.work_items]
    assert plain.identity == said.identity
    assert "precision" not in plain.identity
    assert summarise(finished).parts[0].analysis.precision is None
    other = make_plan(config(precision="bfloat16"), tiny)
    assert not {one.key for one in plain.work_items} & {one.key for one in other.work_items}


@pytest.mark.parametrize("more", [{}, {"checks": {"metrics": ["class_sensitivity"], "images": 3}}])
def test_work_items_by_number(config, tiny, more) -> None:
    items = make_plan(config(precision="bfloat16", **more), tiny).work_items
    listed = list(items)
    assert len(items) == len(listed)
    assert [items[i] for i in range(len(items))] == listed
    assert items[-1] == listed[-1]
    assert len({one.key for one in listed}) == len(listed)
    assert [one.start for one in listed if one.protocol == PRECISION] == [0, 1, 2, 3, 4]
    assert all(one.forwards > 0 for one in listed if one.protocol == PRECISION)


def test_the_images_measured_come_from_all_of_the_data() -> None:
    assert measured_images(5, 0) == [0, 1, 2, 3, 4]
    chosen = measured_images(1600, 3)
    assert len(chosen) == MEASURED
    assert [place // 100 for place in chosen] == list(range(MEASURED))
    assert len({place % 16 for place in chosen}) > 5  # also of images that come in turns
    assert chosen == measured_images(1600, 3) != measured_images(1600, 4)


def test_a_stopped_run_goes_on(low, config, tiny, tmp_path) -> None:
    settings = config(precision="bfloat16", metrics=["srg", "deletion", "gini"])

    class StopError(Exception):
        pass

    def stop(state) -> None:
        if state.done == 5:
            raise StopError

    with pytest.raises(StopError):
        run_benchmark(settings, tmp_path, classifier=tiny, progress=stop)
    assert summarise(tmp_path).parts  # with what is measured so far
    assert run_benchmark(settings, tmp_path, classifier=tiny).resumed == 5
    assert to_json(summarise(tmp_path).parts) == to_json(summarise(low).parts)
    with pytest.raises(ConfigError, match=r"autocast \(bfloat16, error measured → None\)"):
        run_benchmark(settings.model_copy(update={"precision": "float32"}), tmp_path, classifier=tiny)


def test_comparing_with_float32_says_so(low, finished) -> None:
    pairs = compare_runs(low, finished)
    assert {one.precisions for one in pairs} == {("bfloat16", "float32")}
    assert "computed in bfloat16 in the first run, in float32 in the second" in pairs[0].warning
    assert all(one.comparison.tolerance is None or one.comparison.tolerance > 0 for one in pairs)
    assert not {one.comparison.verdict.outcome for one in pairs} & {Outcome.BETTER, Outcome.WORSE}
    alike = compare_runs(finished, finished)
    assert not alike[0].warning
    assert {one.comparison.tolerance for one in alike} == {0}


@pytest.mark.parametrize(
    ("ratio", "images", "chosen", "said"),
    [
        (2.0, 100, "bfloat16", "2.00 times as fast"),
        (2.0, 32, "float32", "costs more than 32 images save"),
        (1.05, 1000, "float32", "1.05 times as fast"),
        (9.0, 16, "float32", "no more than"),
    ],
)
def test_auto(config, tiny, monkeypatch, ratio, images, chosen, said) -> None:
    context = RunContext(config(precision="auto"), None, tiny)
    context.source = replace(context.source, total=images)
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: True)
    monkeypatch.setattr(precision, "_ratio", lambda context, image: ratio)
    found = choose_precision(context)
    assert found.precision == chosen
    assert said in found.reason


def test_auto_measures_both_and_asks_the_processor(config, tiny, monkeypatch) -> None:
    context = RunContext(config(precision="auto"), None, tiny)
    context.source = replace(context.source, total=1000)
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: True)
    monkeypatch.setattr(precision, "FASTER", 0.0)
    monkeypatch.setattr(precision, "MEASURED", -(10**9))
    assert choose_precision(context).ratio > 0
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: False)
    assert "no instructions" in choose_precision(context).reason
    for name, expected in (("avx512_bf16", True), ("avx2", False)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda name=name: {name: True})
        assert has_bfloat16(torch.device("cpu")) is expected


def test_what_was_chosen_stays(config, tiny, tmp_path, monkeypatch) -> None:
    asked = []

    def choose(context) -> PrecisionChoice:
        asked.append(context)
        return PrecisionChoice("bfloat16", "it was asked for", 2.0)

    monkeypatch.setattr(precision, "choose_precision", choose)
    settings = config(precision="auto")
    run_benchmark(settings, tmp_path, classifier=tiny)
    assert read_run(tmp_path).sessions[-1].content["precision"]["reason"] == "it was asked for"
    assert "precision: bfloat16, since it was asked for" in to_markdown(summarise(tmp_path))
    again = run_benchmark(settings, tmp_path, classifier=tiny)
    assert len(asked) == 1
    assert again.resumed == again.work_items
    assert estimate(settings, classifier=tiny).plan.work_items.measured == 5


def test_said_twice_or_of_another_type(config, tiny, tmp_path) -> None:
    with pytest.raises(ValidationError, match="autocast and precision say the same"):
        config(precision="bfloat16", autocast="bfloat16")
    half = deepcopy(tiny).to(torch.bfloat16)  # which changes a model in place
    with pytest.raises(ConfigError, match="the model is in bfloat16"):
        run_benchmark(config(precision="bfloat16"), tmp_path, classifier=half)
    context = RunContext(config(precision="auto"), None, half)
    assert choose_precision(context).precision == "float32"
