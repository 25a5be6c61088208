import numpy as np
import pytest
import torch
from PIL import Image
from tiny_detector import Pooled, classifier, photo, write_photos

from xai import attr, metrics
from xai.bench import estimate, make_plan, read_records, run_benchmark, status
from xai.bench.run.store import Store
from xai.core import DataError, Margin, ModelError, UsageError
from xai.data import read_image
from xai.models import Classifier, Preprocessing


def test_a_run_has_one_record_per_image_method_and_metric(finished):
    frame = read_records(finished)
    assert len(frame) == 5 * (2 + 2 + 2) * 2
    assert not frame.duplicated(["image", "method", "metric", "protocol"]).any()
    assert set(frame["method"][frame["control"]]) == {
        "random_0",
        "random_1",
        "center_prior",
        "raw_last_layer",
    }
    assert frame["value"].notna().all()
    assert (frame["seconds"] > 0).all()
    assert list(frame["group"].unique()) == ["video0", "video1", "video2"]


def test_records_equal_the_metric_computed_by_hand(finished, tiny, photos):
    """Oracle: the public functions, one image, one method, one metric."""
    frame = read_records(finished).set_index(["image", "method", "metric"])
    protocol = metrics.protocol({"base": "vit-mean", "name": "mean", "steps": 4})
    for image in ("0", "3"):
        pixels = tiny.preprocess(read_image(photos / f"{image}.png"))[None]
        target = int(tiny(pixels).argmax())
        relevance = attr.create("gradient_weighted_attention", tiny).attribute_patches(pixels, Margin(target))
        curve = metrics.deletion(tiny, pixels, relevance, target, protocol, seed=0)
        found = frame.loc[image, "gradient_weighted_attention", "deletion"]
        assert found["value"] == pytest.approx(float(curve.auc[0]), abs=1e-5)
        assert found["curve"] == pytest.approx(curve.values[0].numpy(), abs=1e-5)
        assert found["clean"] == pytest.approx(float(curve.clean[0]), abs=1e-5)
        assert found["baseline"] == pytest.approx(float(curve.baseline[0]), abs=1e-5)
        assert found["tie_fraction"] == pytest.approx(float(curve.tie_fraction[0]))
        assert found["target"] == tiny.labels[target]
        assert found["protocol_hash"] == protocol.hash


def test_map_and_mask_metrics_are_computed_once_not_per_protocol(config, tiny, tmp_path):
    run_benchmark(config(metrics=["gini", "rank_accuracy"]), tmp_path, classifier=tiny)
    frame = read_records(tmp_path)
    assert set(frame["protocol"]) == {"maps"}
    rank = frame[frame["metric"] == "rank_accuracy"]
    assert set(rank["image"]) == {"0", "1", "2", "3"}  # the last has no mask
    assert rank[rank["image"] == "3"]["value"].isna().all()  # an empty mask says nothing
    assert rank[rank["image"] != "3"]["value"].between(0, 1).all()
    assert len(frame[frame["metric"] == "gini"]) == 5 * 6


def test_protocols_that_follow_the_label_need_one(config, tiny, tmp_path, photos):
    table = (
        (photos / "faces.csv").read_text().replace("1.png,fake", "1.png,").replace("4.png,real", "4.png,cat")
    )
    path = photos / "some.csv"
    path.write_text(table)
    protocols = ["vit-mean", {"base": "vit-mean", "name": "true", "target": "label"}]
    run_benchmark(config(data={"manifest": str(path)}, protocols=protocols), tmp_path, classifier=tiny)
    frame = read_records(tmp_path)
    followed = frame[frame["protocol"] == "true"]
    assert set(followed["image"]) == {"0", "2", "3"}
    assert (followed["target"] == followed["label"]).all()
    assert set(frame[frame["protocol"] == "vit-mean"]["image"]) == set("01234")
    reasons = {one.image: one.reason for one in Store(tmp_path).exclusions() if one.protocol == "true"}
    assert "no label" in reasons["1"]
    assert "'cat' is none of the model's classes" in reasons["4"]


def test_broken_images_are_excluded_and_nothing_else(config, tiny, finished, tmp_path):
    folder = tmp_path / "images"
    write_photos(folder, 5)
    (folder / "1.png").write_bytes(b"no image")
    patterns = [str(folder), str(folder / "none.png")]
    result = run_benchmark(config(data={"images": patterns}), tmp_path / "run", classifier=tiny)
    assert {one.image: one.reason for one in result.exclusions}.keys() == {"1", "none"}
    assert all(one.reason for one in result.exclusions)
    columns = ["image", "method", "metric", "value"]
    frame = read_records(tmp_path / "run", columns)
    assert set(frame["image"]) == {"0", "2", "3", "4"}
    whole = read_records(finished, columns).merge(frame, on=columns[:3])
    assert len(whole) == len(frame)
    assert np.allclose(whole["value_x"], whole["value_y"], atol=1e-5)


def test_no_usable_image_is_an_error(config, tiny, tmp_path):
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="None of 1 images could be used"):
        run_benchmark(config(data={"images": [str(tmp_path / "a.png")]}), tmp_path / "run", classifier=tiny)


def test_metrics_that_look_at_what_no_image_has_say_so(config, tiny, tmp_path):
    asked = config(data={"images": [str(path) for path in write_photos(tmp_path / "in", 2)]}, metrics=["iou"])
    with pytest.raises(DataError, match="what iou looks at is not known"):
        run_benchmark(asked, tmp_path / "run", classifier=tiny)


def test_a_map_that_is_not_finite_costs_its_own_row_only(config, tiny, tmp_path, monkeypatch):
    rollout = attr.METHODS["attention_rollout"]
    original = rollout.attribute_patches

    def sometimes(self, pixels, target=None):
        maps = original(self, pixels, target).clone()
        maps[pixels.flatten(1).mean(1) > 0.7] = torch.nan
        return maps

    monkeypatch.setattr(rollout, "attribute_patches", sometimes)
    folder = tmp_path / "images"
    write_photos(folder, 3)
    Image.new("RGB", (40, 32), "white").save(folder / "white.png")
    Image.new("RGB", (40, 32), (250, 250, 250)).save(folder / "bright.png")
    result = run_benchmark(config(data={"images": [str(folder)]}), tmp_path / "run", classifier=tiny)
    assert [(one.image, one.method) for one in result.exclusions] == [
        ("bright", "attention_rollout"),
        ("white", "attention_rollout"),
    ]
    frame = read_records(tmp_path / "run")
    assert len(frame) == (5 * 6 - 2) * 2
    assert frame["value"].notna().all()
    (tmp_path / "images" / "white.png").rename(folder / "!first.png")  # a work item of its own
    alone = config(data={"images": [str(folder)]}, shard_size=1)
    result = run_benchmark(alone, tmp_path / "alone", classifier=tiny)
    assert [one.image for one in result.exclusions] == ["!first", "bright"]


def test_a_method_that_fails_everywhere_ends_the_run(config, tiny, tmp_path, monkeypatch):
    def failing(self, pixels, target=None):
        raise ModelError("this model has no attention")

    monkeypatch.setattr(attr.METHODS["attention_rollout"], "attribute_patches", failing)
    with pytest.raises(ModelError, match="attention_rollout.*this model has no attention"):
        run_benchmark(config(), tmp_path, classifier=tiny)
    with pytest.raises(ModelError, match="attention_rollout"):
        estimate(config(), classifier=tiny)


class AnySize(Pooled):
    def forward(self, pixels):
        return self.head(self.backbone(pixels, interpolate_pos_encoding=True).pooler_output)


def test_images_of_several_sizes(config, tmp_path):
    steps = Preprocessing(shortest_edge=32)
    model = Classifier(AnySize(2, 4).eval(), ["real", "fake"], name="any", preprocessing=steps)
    for number, size in enumerate([(32, 32), (48, 32), (32, 32), (48, 32)]):
        photo(number, size).save(tmp_path / f"{number}.png")
    options = {"data": {"images": [str(tmp_path)]}, "shard_size": 4, "metrics": ["deletion", "gini"]}
    run_benchmark(config(**options), tmp_path / "mixed", classifier=model)
    run_benchmark(config(**options | {"shard_size": 1}), tmp_path / "alone", classifier=model)
    key = ["image", "method", "metric"]
    mixed, alone = (read_records(tmp_path / name).set_index(key).sort_index() for name in ("mixed", "alone"))
    assert len(mixed) == 4 * 6 * 2
    assert np.allclose(mixed["value"], alone["value"].loc[mixed.index], atol=1e-5)


def test_the_greedy_order_is_searched_for_on_the_first_images(config, tiny, tmp_path):
    controls = {"random_seeds": 1, "sobel": False, "greedy_images": 3}
    run_benchmark(config(controls=controls), tmp_path, classifier=tiny)
    frame = read_records(tmp_path)
    greedy = frame[(frame["method"] == "greedy") & (frame["metric"] == "deletion")]
    assert list(greedy["image"]) == ["0", "1", "2"]
    assert greedy["control"].all()
    others = frame[(frame["metric"] == "deletion") & frame["image"].isin(greedy["image"])]
    assert (
        greedy["value"].mean() < others[others["method"] != "greedy"].groupby("method")["value"].mean().min()
    )


def test_random_rows_differ_from_each_other_and_not_between_runs(finished):
    frame = read_records(finished)
    frame = frame[frame["metric"] == "deletion"].pivot(index="image", columns="method", values="value")
    assert (frame["random_0"] != frame["random_1"]).all()


def test_explaining_the_logit_is_another_method(config, tiny, finished, tmp_path):
    run_benchmark(config(explain="logit"), tmp_path, classifier=tiny)
    key = ["image", "method", "metric"]
    one, other = (read_records(run).set_index(key).sort_index() for run in (finished, tmp_path))
    assert (one["method_hash"] != other["method_hash"]).all()
    weighted = one.index.get_level_values("method") == "gradient_weighted_attention"
    assert not np.allclose(one["value"][weighted], other["value"][weighted])


def test_memory_running_out_halves_the_batch(config, tiny, finished, tmp_path, monkeypatch, caplog):
    rollout = attr.METHODS["attention_rollout"]
    original = rollout.attribute_patches

    def small(self, pixels, target=None):
        if len(pixels) > 1:
            raise torch.OutOfMemoryError("out of memory")
        return original(self, pixels, target)

    monkeypatch.setattr(rollout, "attribute_patches", small)
    run_benchmark(config(), tmp_path, classifier=tiny)
    assert "going on with 1" in caplog.text
    one, other = (
        read_records(run).sort_values(["image", "method", "metric"]) for run in (finished, tmp_path)
    )
    assert np.allclose(one["value"], other["value"], atol=1e-5)


def test_progress_tells_how_far_it_is(config, tiny, tmp_path):
    seen = []
    run_benchmark(config(), tmp_path, classifier=tiny, progress=seen.append)
    assert [(one.done, one.total) for one in seen] == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert seen[0].seconds_left is None
    assert seen[1].seconds_left > 0
    assert seen[-1].seconds_left == 0
    assert seen[-1].forwards == status(tmp_path).forwards > 0


def test_the_plan_says_at_most_how_many_forwards_there_will_be(config, tiny, finished):
    plan = make_plan(config(), tiny)
    assert [(unit.start, unit.stop) for unit in plan.work_items] == [(0, 2), (2, 4), (4, 5)]
    assert 0 < status(finished).forwards <= plan.forwards
    other = make_plan(config(metrics=["srg"]), tiny)
    assert not {unit.key for unit in plan.work_items} & {unit.key for unit in other.work_items}


def test_the_estimate_counts_what_the_run_then_takes(config, tiny, finished):
    found = estimate(config(), classifier=tiny)
    taken = status(finished).forwards
    assert taken <= found.forwards <= 1.5 * taken  # shared between methods: the ends
    assert found.seconds > 0
    assert found.seconds_per_map.keys() == set(read_records(finished)["method"])


def test_too_many_steps_for_the_grid_are_found_before_the_work(config, tiny, tmp_path):
    with pytest.raises(UsageError, match="steps for 16 units"):
        run_benchmark(config(protocols=[{"base": "vit-mean", "steps": 50}]), tmp_path, classifier=tiny)
    assert not list(tmp_path.iterdir())


def test_an_unknown_engine(config, tiny, tmp_path):
    with pytest.raises(UsageError, match="'local'"):
        run_benchmark(config(), tmp_path, classifier=tiny, engine="locale")


def test_forgeries_made_on_the_fly(config, tiny, tmp_path):
    data = {"forgeries": {"count": 3, "kinds": ["noise"], "pristine": True}, "limit": 5}
    run_benchmark(config(data=data, metrics=["deletion", "mass_accuracy"]), tmp_path, classifier=tiny)
    frame = read_records(tmp_path)
    deletion = frame[frame["metric"] == "deletion"].drop_duplicates("image")
    assert list(deletion["label"]) == ["fake", "real", "fake", "real", "fake"]
    assert deletion["group"].nunique() == 3
    assert set(frame[frame["metric"] == "mass_accuracy"]["label"]) == {"fake"}  # pristine ones have no mask


def test_the_model_is_left_as_it_was(config, tmp_path):
    model = classifier(size=(32, 32)).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    run_benchmark(config(), tmp_path, classifier=model)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(module.training for module in model.modules())
