import json
import shutil
from base64 import b64decode
from dataclasses import replace

import numpy as np
import pytest
import report_pages
import torch
from PIL import Image
from pyarrow import Table, parquet

from xai import metrics
from xai.attr import METHODS
from xai.bench import page_of_run, read_records, run_benchmark, summarise
from xai.bench.views import read_views, views_path, write_views
from xai.core import DataError
from xai.data import read_image
from xai.report import to_html
from xai.report.encode import encode_grid, encode_order, encode_picture
from xai.report.payload import Page
from xai.stats import map_agreement

BLUR = {"name": "blur", "kernel": 5, "sigma": 2.0}
GREY = {"name": "constant", "value": 0.5, "space": "pixel"}
CHECKS = ["class_sensitivity", "randomization", "sensitivity_max", "infidelity"]
EVERYTHING = {
    "methods": [
        "gradient_weighted_attention",
        {"name": "signed", "method": "gradient_weighted_attention", "options": {"clamp": None}},
        "attention_rollout",
    ],
    "controls": {"random_seeds": 2, "greedy_images": 1},
    "protocols": [
        {"base": "vit-token", "name": "token", "steps": 4},
        {"base": "vit-mean", "name": "mean", "steps": 4},
        {"base": "vit-mean", "name": "grey", "steps": 4, "operator": GREY, "insertion_operator": "minimum"},
        {"base": "vit-mean", "name": "drawn", "steps": 4, "tie_draws": 3, "sign": "absolute"},
        {"base": "vit-mean", "name": "blur", "steps": 4, "operator": BLUR},
        {"base": "rise", "name": "pixels", "step_units": 256},
        {"base": "vit-mean", "name": "true", "steps": 4, "target": "label"},
    ],
    "metrics": ["srg", "deletion", "insertion", "lerf", "gini", "rank_accuracy"],
    "checks": {"metrics": CHECKS, "images": 2},
}  # fmt: skip


@pytest.fixture(scope="module")
def run(config, tiny, tmp_path_factory):
    """A run with everything that a page tells apart."""
    out = tmp_path_factory.mktemp("everything")
    run_benchmark(config(**EVERYTHING), out, classifier=tiny)
    return out


@pytest.fixture(scope="module")
def page(run):
    return page_of_run(run)


def decoded(text):
    return np.frombuffer(b64decode(text), "<u2").astype(int)


def grid(found):
    values = np.frombuffer(b64decode(found.values), "<i2").reshape(found.rows, found.cols)
    return values / 32767 * found.limit


def test_values_are_those_of_the_records(run, page):
    frame = read_records(run)
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


def test_parts_stand_where_the_summary_has_them(run, page):
    summary = summarise(run).as_dict()
    assert json.loads(json.dumps(page.summary, allow_nan=False)) == json.loads(json.dumps(summary))
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


def test_maps_answers_and_digests(run, page, tiny, photos):
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


def test_cards_say_what_was_measured(run, page):
    assert [one.method for one in page.cards] == [
        "gradient_weighted_attention", "attention_rollout", "random", "center_prior", "sobel", "raw_attention"
    ]  # fmt: skip
    cards = {one.method: one for one in page.cards}
    assert cards["random"].needs == ["nothing of the model"]
    assert not cards["random"].deterministic
    assert cards["gradient_weighted_attention"].needs == ["attention", "gradients"]
    summary = summarise(run)
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


def test_some_images_are_drawn_and_the_rest_stays_the_same(run, page):
    some = page_of_run(run, images=2)
    assert some.shown == (2, 5)
    assert some.summary == page.summary
    whole = {one.id: one for one in page.images}
    for one in some.images:
        assert one.scores == whole[one.id].scores
        assert one.orders == whole[one.id].orders
    assert [one.id for one in some.images] == sorted(one.id for one in some.images)
    assert [one.id for one in page_of_run(run, images=2).images] == [one.id for one in some.images]
    others = {tuple(one.id for one in page_of_run(run, images=2, seed=seed).images) for seed in range(1, 5)}
    assert len(others) > 1
    assert some.provenance["images_shown"] == "drawn at random, seed 0"
    assert len(page_of_run(run, images=None).images) == 5


def test_a_run_without_views_is_a_page_on_plain_ground(run, page, tmp_path):
    shutil.copytree(run, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "views")
    old = page_of_run(tmp_path)
    for one, other in zip(page.images, old.images, strict=True):
        assert other.picture is None
        assert any("kept no picture" in said for said in other.caveats)
        assert (other.id, other.target, other.predicted) == (one.id, one.target, one.predicted)
        assert (other.scores, other.curves, other.maps) == (one.scores, one.curves, one.maps)
        assert other.probabilities == pytest.approx(one.probabilities, abs=1e-6)
        assert (other.width, other.height) == (32, 32)
        assert not other.orders
    assert not any(part.exact for part in old.parts if part.operator in ("mean", "constant", "minimum"))
    assert "<html" in to_html(old)


def test_a_shard_without_views_does_not_spoil_the_others(run, tmp_path):
    shutil.copytree(run, tmp_path, dirs_exist_ok=True)
    views_path(tmp_path, 1).write_bytes(b"broken")
    assert [one.picture is None for one in page_of_run(tmp_path).images] == [False, False, True, True, False]


def test_answers_that_are_not_finite_are_left_out(run, page, tmp_path):
    """Half precision may give NaN for a changed image; the rest of the page stays."""
    shutil.copytree(run, tmp_path, dirs_exist_ok=True)
    row, key = "signed", "deletion|token"
    first = page.images[0].id
    for path in (tmp_path / "parts").iterdir():
        found = parquet.read_table(path)
        records = found.to_pylist()
        for one in records:
            if (one["image"], one["metric"], one["protocol"], one["method"]) == (first, *key.split("|"), row):
                one |= {
                    "value": float("nan"),
                    "curve": [one["curve"][0], *[float("nan")] * (len(one["curve"]) - 1)],
                }
        parquet.write_table(Table.from_pylist(records, schema=found.schema), path)
    image, whole = page_of_run(tmp_path).images[0], page.images[0]
    assert image.scores[key][row] is None
    assert image.curves[key] == {name: one for name, one in whole.curves[key].items() if name != row}
    assert image.removals == [one for one in whole.removals if one.row != row]
    assert len(image.removals) == len(whole.removals) - 1


def test_folders_of_the_machine_stay_there(run, tmp_path):
    """Pages are sent on; a run's own records say where its model lay."""
    shutil.copytree(run, tmp_path, dirs_exist_ok=True)
    about = json.loads((tmp_path / "run.json").read_text("utf-8"))
    about["sessions"][-1]["model"] |= {"weights": "/home/somebody/model.safetensors", "name": "local:/home/m"}
    (tmp_path / "run.json").write_text(json.dumps(about), "utf-8")
    page = page_of_run(tmp_path)
    assert page.model["weights"] == "model.safetensors"
    assert page.labels == about["sessions"][-1]["model"]["labels"]
    assert "/home" not in page.model_dump_json(by_alias=True)
    assert "/home" not in to_html(page)


def test_an_unfinished_run_says_so(config, tiny, tmp_path):
    run_benchmark(config(), tmp_path, classifier=tiny)
    parts = sorted((tmp_path / "parts").iterdir())
    parts[0].unlink()
    page = page_of_run(tmp_path)
    assert page.title == "benchmark (unfinished: 2 of 3 units)"
    assert len(page.images) in (3, 4)
    assert page.shown == (len(page.images), len(page.images))
    assert page.provenance["images_shown"] == "all"
    assert f"{len(page.images)} of 5 images measured." in to_html(page)
    some = page_of_run(tmp_path, images=len(page.images))
    assert some.provenance["images_shown"] == "all"
    for part in parts[1:]:
        part.unlink()
    with pytest.raises(DataError, match="no record"):
        page_of_run(tmp_path)
    with pytest.raises(DataError, match="no benchmark run"):
        page_of_run(tmp_path / "nowhere")


def test_images_whose_label_the_model_does_not_know(config, tiny, tmp_path, photos):
    """A label that the model does not know has no map under a protocol that follows the label."""
    table = (photos / "faces.csv").read_text().replace("3.png,real", "3.png,cat")
    (photos / "cat.csv").write_text(table)
    both = [
        {"base": "vit-mean", "name": "true", "target": "label", "steps": 4},
        {"base": "vit-mean", "steps": 4},
    ]
    changed = config(data={"manifest": str(photos / "cat.csv")}, protocols=both)
    run_benchmark(changed, tmp_path, classifier=tiny)
    page = page_of_run(tmp_path)
    images = {one.id: one for one in page.images}
    assert len(images) == 5
    assert not images["3"].maps
    assert any("kept no maps" in said for said in images["3"].caveats)
    assert [images[name].target for name in "0124"] == ["fake", "fake", "fake", "real"]
    assert page.classes == ["real", "fake"]
    assert set(images["4"].maps["random_0"]) == {"real"}


def test_failed_maps_are_left_out_and_said(config, tiny, tmp_path, photos, monkeypatch):
    real = METHODS["attention_rollout"].attribute_patches
    corner = tiny.preprocess(read_image(photos / "1.png"))[:, 0, 0]

    def failing(self, pixels, target=None, *more):
        found = real(self, pixels, target, *more)
        broken = (pixels[:, :, 0, 0] == corner).all(1)
        return torch.where(broken[:, None, None], torch.nan, found)

    monkeypatch.setattr(METHODS["attention_rollout"], "attribute_patches", failing)
    run_benchmark(config(), tmp_path, classifier=tiny)
    page = page_of_run(tmp_path)
    failed = [one for one in page.images if "attention_rollout" not in one.maps]
    assert [one.id for one in failed] == ["1"]
    for one in failed:
        assert "attention_rollout failed on this image: the map holds NaN or infinity." in one.caveats
        assert "attention_rollout" not in one.orders
        assert one.disagreement is None  # one method alone
    assert Page.model_validate_json(page.model_dump_json(by_alias=True)) == page


def test_caveats(config, tiny, tmp_path, finished):
    changed = config(methods=["chefer", "gradient_weighted_attention"], protocols=[
        {"base": "vit-mean", "name": "mean", "steps": 4, "target": "label", "floor": 100.0}])  # fmt: skip
    run_benchmark(changed, tmp_path, classifier=tiny)
    page = page_of_run(tmp_path)
    for image in page.images:
        said = " ".join(image.caveats)
        assert ("The model is wrong" in said) == (image.predicted != image.label)
        assert "Under mean the curve of every method hardly moves" in said
        baseline = image.curves["deletion|mean"]["chefer"][-1]
        assert ("with every patch removed" in said) == (baseline > 0)
    assert {"real", "fake"} == {image.label for image in page.images}


def test_tied_patches_are_told_and_tied_pixels_are_not(run, page):
    keys = ["metric", "protocol", "image", "method"]
    frame = read_records(run).set_index(keys)["tie_fraction"].sort_index()
    assert (frame["srg", "pixels"] == 1).all()  # pixels of one patch
    for image in page.images:
        said = next((one for one in image.caveats if "are tied" in one), "")
        for row in ("gradient_weighted_attention", "signed", "attention_rollout"):
            assert (row in said) == (frame["srg", "token", image.id, row] > 0.5)


def test_hostile_names_stay_text(finished, tmp_path):
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    views = read_views(views_path(tmp_path, 0))
    name = "</script><img src=x onerror=alert(1)>\n.png"
    write_views(views_path(tmp_path, 0), [replace(views[0], name=name), *views[1:]])
    page = page_of_run(tmp_path)
    assert page.images[0].name == name.replace("\n", "\\n")
    assert "<img src=x" not in to_html(page)


def test_a_thousand_images_of_twelve_rows_stay_small():
    rows = [f"method_{i}" for i in range(12)]
    random = np.random.default_rng(0)
    page = report_pages.benchmark_page(1)
    with Image.open(report_pages.PHOTOS[0]) as photo:
        picture = encode_picture(photo, 320)
    one = page.images[0]

    def made(place):
        maps = {row: random.normal(size=(14, 14)) for row in rows}
        return one.model_copy(
            update={
                "id": f"image {place}",
                "picture": picture,
                "maps": {row: {"fake": encode_grid(values)} for row, values in maps.items()},
                "orders": {row: encode_order(np.argsort(-v.ravel())) for row, v in maps.items()},
                "curves": {key: {row: random.normal(size=15).tolist() for row in rows} for key in "abc"},
                "scores": {key: {row: float(random.normal()) for row in rows} for key in "abcdefgh"},
            }
        )  # fmt: skip

    page = page.model_copy(update={"images": [made(place) for place in range(1000)]})
    size = len(to_html(page).encode())
    assert size < 60e6
