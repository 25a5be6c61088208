from dataclasses import replace
from hashlib import sha256
from io import BytesIO

import numpy as np
import pytest
import torch
from bench_runs import records, snapshots
from PIL import Image
from tiny_detector import classifier

from xai import metrics
from xai.bench import run_benchmark
from xai.bench.run.image_snapshots import read_snapshots, snapshots_path, write_snapshots
from xai.bench.run.snapshot_maker import snapshot_maker
from xai.core import Sample
from xai.data import read_image
from xai.data.samples import Entry
from xai.perturb import image_seeds, make_operator


def opened(content):
    return Image.open(BytesIO(content))


def test_a_run_keeps_what_a_page_shows(finished, tiny, photos):
    views = snapshots(finished)
    assert [one.id for one in views] == ["0", "1", "2", "3", "4"]
    assert [one.index for one in views] == [0, 1, 2, 3, 4]
    for one in views:
        path = photos / f"{one.id}.png"
        pixels = tiny.preprocess(read_image(path))
        assert one.name == path.name
        assert one.sha256 == sha256(path.read_bytes()).hexdigest()
        assert one.input_hash == sha256(pixels.numpy().tobytes()).hexdigest()
        assert one.logits == pytest.approx(tiny(pixels[None])[0].tolist(), abs=1e-5)
        assert (one.width, one.height, one.input_size) == (40, 32, (32, 32))
        assert one.seen == (0, 0, 40, 32)  # squeezed to a square
        assert one.view == (0, 0, 40, 32)
        assert one.box is None
        assert one.label == ("fake" if one.index < 3 else "real")
        assert one.group == f"video{one.index // 2}"
        assert opened(one.picture).size == (40, 32)
        assert (one.mask is None) == (one.index == 4)


def test_masks_lie_over_the_pictures(finished, photos):
    for one in snapshots(finished)[:4]:
        truth = np.asarray(Image.open(photos / f"{one.id}_mask.png")) > 127
        assert np.array_equal(np.asarray(opened(one.mask).convert("1")), truth)


def test_fills_are_the_colours_that_the_model_saw(finished, tiny, photos):
    """Without normalisation the input's mean is the picture's mean colour."""
    for one in snapshots(finished):
        seen = np.asarray(read_image(photos / f"{one.id}.png").resize((32, 32), Image.Resampling.BICUBIC))
        red, green, blue = (round(float(x)) for x in seen.reshape(-1, 3).mean(0, dtype=float))
        assert one.fills == {"mean": f"#{red:02x}{green:02x}{blue:02x}"}


def test_fills_through_the_normalisation():
    mean, std = (0.52, 0.4, 0.3), (0.2, 0.25, 0.5)
    model = classifier(size=(32, 32), mean=mean, std=std)
    sample = Sample("a", Image.new("RGB", (64, 64), (200, 100, 50)))
    sample.image.paste((250, 40, 30), (0, 0, 32, 64))
    changes = [
        {"operator": "minimum", "insertion_operator": make_operator("constant", value=0.0)},
        {"operator": make_operator("constant", value=0.25, space="pixel")},
        {"operator": "token"},
        {"operator": "noise"},
    ]
    protocols = [metrics.protocol({"base": "vit-mean", **change}) for change in changes]
    pixels = model.preprocess(sample.image)
    look = snapshot_maker(model, protocols, 0)
    view = look(0, Entry("a", lambda: sample), sample, model.geometry((64, 64)), pixels, "d" * 64)
    assert view.fills["constant 0.25 (pixel)"] == "#404040"
    assert view.fills["constant 0 (normalised)"] == "#85664c"  # the mean of the normalisation
    low = float(pixels.min())
    expected = [np.clip((low * s + m) * 255, 0, 255) for m, s in zip(mean, std, strict=True)]
    assert view.fills["minimum"] == "#" + "".join(f"{round(x):02x}" for x in expected)
    assert set(view.fills) == {"minimum", "constant 0.25 (pixel)", "constant 0 (normalised)"}
    # what the substrate shows is what the hex says, to half a level
    substrate = make_operator("minimum").prepare(model, pixels[None], image_seeds(pixels[None], 0))
    assert float(substrate[0, 0, 0, 0]) == low
    assert view.name == "a"
    assert view.sha256 is None


def test_a_small_crop_is_shown_with_its_surroundings(tiny):
    mask = np.zeros((300, 400), bool)
    mask[100:120, 100:130] = True
    sample = Sample("a", Image.new("RGB", (400, 300)), mask=mask, box=(100, 100, 40, 20))
    sample.image.paste((255, 255, 255), (100, 100, 130, 120))
    crop = sample.image.crop((100, 100, 140, 120))
    geometry = tiny.geometry(crop.size).within(sample.image.size, (100, 100))
    look = snapshot_maker(tiny, [metrics.protocol("vit-mean")], 0)
    one = look(3, Entry("a", lambda: sample), sample, geometry, tiny.preprocess(crop), "d" * 64)
    assert one.view == (90, 90, 150, 130)
    assert one.box == (100, 100, 40, 20)
    assert opened(one.picture).size == (60, 40)
    drawn = np.asarray(opened(one.mask).convert("1"))
    assert drawn[10:30, 10:40].all()
    assert drawn.sum() == 20 * 30
    assert np.asarray(opened(one.picture).convert("L"))[15:25, 15:35].min() > 200


def test_written_and_read_again(finished, tmp_path):
    views = snapshots(finished)
    views[0] = replace(views[0], label=None, box=(1.5, 2, 3, 4), name="<b>&\U0001f600.png")
    write_snapshots(tmp_path / "views" / "a.parquet", views)
    assert read_snapshots(tmp_path / "views" / "a.parquet") == views
    write_snapshots(tmp_path / "none.parquet", [])
    assert read_snapshots(tmp_path / "none.parquet") == []
    assert read_snapshots(tmp_path / "absent.parquet") is None


def test_missing_and_broken_views_are_made_again_without_perturbing(config, tiny, tmp_path):
    run_benchmark(config(), tmp_path, classifier=tiny)
    before, kept = snapshots(tmp_path), records(tmp_path)
    parts = {path: path.stat().st_mtime_ns for path in (tmp_path / "parts").iterdir()}
    snapshots_path(tmp_path, 0).unlink()
    content = bytearray(snapshots_path(tmp_path, 1).read_bytes())
    content[len(content) // 3] ^= 255  # in the middle of a picture
    snapshots_path(tmp_path, 1).write_bytes(content)
    snapshots_path(tmp_path, 2).write_bytes(b"")
    result = run_benchmark(config(), tmp_path, classifier=tiny)
    assert result.forwards == 0
    assert result.resumed == result.work_items
    assert snapshots(tmp_path) == before
    assert records(tmp_path).equals(kept)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "parts").iterdir()} == parts


def test_views_of_other_settings_do_not_stay(config, tiny, photos, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("xai.bench.run.context.make_maps", None)  # fails after the views of the first shard
        with pytest.raises(TypeError):
            run_benchmark(config(), tmp_path, classifier=tiny)
    assert len(snapshots(tmp_path)) == 2
    other = config(protocols=[{"base": "vit-mean", "name": "least", "operator": "minimum"}])
    run_benchmark(other, tmp_path, classifier=tiny)
    assert {name for one in snapshots(tmp_path) for name in one.fills} == {"minimum"}


def test_broken_images_have_no_view(config, tiny, photos, tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(2):
        (tmp_path / "in" / f"{number}.png").write_bytes((photos / f"{number}.png").read_bytes())
    (tmp_path / "in" / "broken.png").write_bytes(b"no image")
    data = {"images": str(tmp_path / "in")}
    run_benchmark(config(data=data), tmp_path / "run", classifier=tiny)
    views = snapshots(tmp_path / "run")
    assert [(one.id, one.group, one.label) for one in views] == [("0", "0", None), ("1", "1", None)]


def test_records_are_the_same_with_and_without_views(config, tiny, finished, tmp_path, monkeypatch):
    monkeypatch.setattr("xai.bench.run.context.RunContext.has_snapshots", lambda self, shard: True)
    run_benchmark(config(), tmp_path, classifier=tiny)
    assert not (tmp_path / "views").exists()
    one, other = records(finished), records(tmp_path)
    assert one.drop(columns="curve").equals(other.drop(columns="curve"))
    assert torch.equal(torch.tensor(list(one["curve"][0])), torch.tensor(list(other["curve"][0])))
