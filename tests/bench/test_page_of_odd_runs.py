"""Pages of runs in which something is missing, broken, unknown, hostile or huge."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import report_pages
import torch
from PIL import Image
from pyarrow import Table, parquet

from xai.attr import METHODS
from xai.bench import page_of_run, read_records, run_benchmark
from xai.bench.run.image_snapshots import read_snapshots, snapshots_path, write_snapshots
from xai.core import DataError
from xai.core.names import row_in_words
from xai.data import read_image
from xai.report import to_html
from xai.report.encode import encode_grid, encode_order, encode_picture
from xai.report.payload import Page


def test_a_run_without_views_is_a_page_on_plain_ground(everything, page, tmp_path):
    shutil.copytree(everything, tmp_path, dirs_exist_ok=True)
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


def test_a_shard_without_views_does_not_spoil_the_others(everything, tmp_path):
    shutil.copytree(everything, tmp_path, dirs_exist_ok=True)
    snapshots_path(tmp_path, 1).write_bytes(b"broken")
    assert [one.picture is None for one in page_of_run(tmp_path).images] == [False, False, True, True, False]


def test_answers_that_are_not_finite_are_left_out(everything, page, tmp_path):
    """Half precision may give NaN for a changed image; the rest of the page stays."""
    shutil.copytree(everything, tmp_path, dirs_exist_ok=True)
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


def test_folders_of_the_machine_stay_there(everything, tmp_path):
    """Pages are sent on; a run's own records say where its model lay."""
    shutil.copytree(everything, tmp_path, dirs_exist_ok=True)
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
    assert page.title == "benchmark (unfinished: 2 of 3 work items)"
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
        assert "attention rollout failed on this image: the map holds NaN or infinity." in one.caveats
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
        assert "Under patches in the mean colour (mean) the curve of every method hardly moves" in said
        baseline = image.curves["deletion|mean"]["chefer"][-1]
        assert ("with every patch removed" in said) == (baseline > 0)
    assert {"real", "fake"} == {image.label for image in page.images}


def test_tied_patches_are_told_and_tied_pixels_are_not(everything, page):
    keys = ["metric", "protocol", "image", "method"]
    frame = read_records(everything).set_index(keys)["tie_fraction"].sort_index()
    assert (frame["srg", "pixels"] == 1).all()  # pixels of one patch
    words = {one.name: row_in_words(one.name, one.method) for one in page.rows}
    for image in page.images:
        said = next((one for one in image.caveats if "are tied" in one), "")
        for row in ("gradient_weighted_attention", "signed", "attention_rollout"):
            found = re.search(re.escape(words[row]) + r" \(\d", said)
            assert (found is not None) == (frame["srg", "token", image.id, row] > 0.5)


def test_hostile_names_stay_text(finished, tmp_path):
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    views = read_snapshots(snapshots_path(tmp_path, 0))
    name = "</script><img src=x onerror=alert(1)>\n.png"
    write_snapshots(snapshots_path(tmp_path, 0), [replace(views[0], name=name), *views[1:]])
    page = page_of_run(tmp_path)
    assert page.images[0].name == name.replace("\n", "\\n")
    assert "<img src=x" not in to_html(page)


def test_many_images_of_twelve_rows_stay_small():
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

    page = page.model_copy(update={"images": [made(place) for place in range(200)]})
    size = len(to_html(page).encode())
    assert size < 12e6
