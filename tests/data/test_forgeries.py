"""Forgeries made on the fly: the same every time, one at a time, from photographs that may be passed on."""

import runpy
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from xai.core import DataError, UsageError
from xai.data import forged_samples, shipped_photos
from xai.data import forgeries as module
from xai.data.forgery import KINDS

LOCAL = "upsampling", "resampling", "noise", "color"


def same(first, second):
    return np.array_equal(np.asarray(first.image), np.asarray(second.image)) and first.id == second.id


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        pixels = rng.integers(0, 255, (250, 300, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    return tmp_path


def test_shipped_photographs_are_complete_and_each_names_its_licence():
    photos = shipped_photos()
    assert len(photos) >= 10
    attribution = (module.PHOTOS / "ATTRIBUTION.md").read_text(encoding="utf-8")
    rows = {line.split("`")[1]: line for line in attribution.splitlines() if line.startswith("| `")}
    assert (
        rows.keys()
        == {path.name for path in photos.values()}
        == {p.name for p in module.PHOTOS.glob("*.jpg")}
    )
    allowed = ("public domain", "CC0-1.0", "CC-BY-2.0 (https", "CC-BY-4.0 (https")
    for path in photos.values():
        assert any(f"| {licence}" in rows[path.name] for licence in allowed), path.name
        with Image.open(path) as image:
            assert min(image.size) >= module.SIDE


def test_no_shipped_photograph_was_trained_on():
    """By the split of the training program itself; the photographs it does not list played no part in it."""
    root = module.PHOTOS.parents[2]
    sources = runpy.run_path(str(root / "benchmarks/make_photos.py"))["SOURCES"]
    catalogue = runpy.run_path(str(root / "benchmarks/demo_photos.py"))["CATALOGUE"]
    held_out = {photo.name: photo.held_out for photo in catalogue}
    assert {source.name for source in sources} == set(shipped_photos())
    assert all(held_out[source.photo] for source in sources if source.use == "held out")
    others = [source.photo for source in sources if source.use == "unseen"]
    assert not {Path(path).stem for path in others} & {Path(photo.path).stem for photo in catalogue}
    assert len(others) == 3 and all(path.startswith("usr/share/libjxl-testdata") for path in others)


def test_a_sample_is_a_forged_crop_with_its_mask_and_photograph():
    sample = forged_samples(count=1)[0]
    assert sample.image.size == (224, 224) and sample.image.mode == "RGB"
    assert sample.label == "fake" and sample.group in shipped_photos()
    assert sample.mask.shape == (224, 224) and 0.02 <= sample.mask.mean() <= 0.3


def test_equal_seeds_give_equal_samples_and_the_count_changes_nothing(photos):
    few, many, other = (forged_samples(photos, n, seed=s) for n, s in ((4, 0), (9, 0), (4, 1)))
    assert few.ids == many.ids[:4]
    assert all(same(one, another) for one, another in zip(few, many, strict=False))
    assert same(few[2], few[2]), "a sample must not depend on what was made before it"
    assert not set(few.ids) & set(other.ids)
    assert not any(
        np.array_equal(np.asarray(x.image), np.asarray(y.image)) for x, y in zip(few, other, strict=True)
    )


def test_published_samples_are_the_same_to_the_byte(photos):
    """Crops, kinds, masks, names: what the published benchmarks were run on."""
    whole = sha256()
    for sample in forged_samples(photos, 24, LOCAL, seed=3, pristine=True):
        mask = b"" if sample.mask is None else np.packbits(sample.mask).tobytes()
        known = f"{sample.id} {sample.label} {sample.group}".encode()
        whole.update(np.asarray(sample.image).tobytes() + mask + known)
    assert whole.hexdigest()[:16] == "f0867a3be5ef9b4e"


def test_photographs_and_kinds_take_turns(photos):
    samples = forged_samples(photos, 12)
    assert samples.groups == ("a", "b", "c") * 4
    assert sorted(name.split("-")[0] + name.split("-")[-1] for name in samples.ids) == sorted(
        photo + kind for photo in "abc" for kind in ("upsampling", "noise") for _ in range(2)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_the_pristine_twin_differs_inside_the_mask_only(photos, kind):
    samples = forged_samples(photos, 6, kinds=[kind], pristine=True)
    assert len(samples) == 12
    for fake, real in zip(samples[::2], samples[1::2], strict=True):
        assert (fake.kind, real.kind) == (kind, "pristine")
        assert (fake.label, real.label) == (KINDS[kind].label, "real") and real.mask is None
        assert fake.group == real.group
        changed = (np.asarray(fake.image) != np.asarray(real.image)).any(axis=2)
        assert changed[fake.mask].mean() > 0.5
        assert changed[~fake.mask].mean() < 0.2  # a soft edge reaches a little beyond


def test_a_donor_is_another_photograph_of_the_same_folder_and_every_one_gets_its_turn(photos):
    paths = {name: photos / f"{name}.png" for name in "abc"}
    plan = module.plan_forgeries(paths, 60, ["splice", "noise"], pristine=True)
    for one in plan:
        assert (one.donor is None) == (one.forged_as == "noise")
        assert one.donor != one.photo and (one.donor is None or one.donor.path in paths.values())
    pairs = {(one.photo.name, one.donor.name) for one in plan if one.donor}
    assert pairs == {(a, b) for a in "abc" for b in "abc" if a != b}
    assert plan[:20] == module.plan_forgeries(paths, 10, ["splice", "noise"], pristine=True)


def test_a_splice_shows_its_donor_and_its_group_is_the_host(tmp_path):
    for name, colour in (("dark", (20, 30, 40)), ("light", (230, 220, 210))):
        Image.new("RGB", (240, 240), colour).save(tmp_path / f"{name}.png")
    host, other = forged_samples(tmp_path, 2, ["copy_move"])
    assert np.ptp(np.asarray(host.image)) == 20, "one colour: a copy shows nothing"
    assert (host.group, other.group) == ("dark", "light")
    recipes = module.plan_forgeries({n: tmp_path / f"{n}.png" for n in ("dark", "light")}, 40, ["splice"])
    spliced = [np.asarray(one.make().image).max() for one in recipes if one.photo.name == "dark"]
    assert max(spliced) > 150 > min(spliced), "its colours come none to all of the way"


def test_portraits_are_cropped_about_their_middle(tmp_path):
    for name in ("a", "b"):
        pixels = np.zeros((300, 500, 3), np.uint8)
        pixels[100:200, 200:300] = 255
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    for twin in forged_samples(tmp_path, 4, ["face_swap"], pristine=True)[1::2]:
        lit = np.argwhere(np.asarray(twin.image)[..., 0] > 128)
        assert twin.image.size == (224, 224)
        assert np.allclose(lit.mean(axis=0), 111.5, atol=1) and np.allclose(np.ptp(lit, axis=0), 74, atol=2)


def test_another_size(photos):
    for sample in forged_samples(photos, 2, ["noise", "splice"], size=64):
        assert sample.image.size == (64, 64) and sample.mask.shape == (64, 64)
    with pytest.raises(DataError, match=r"300 × 250 pixels are too few for crops of 256 × 256"):
        forged_samples(photos, 2, size=256)


def test_one_photograph_has_no_donor(tmp_path):
    Image.new("RGB", (240, 240)).save(tmp_path / "only.png")
    with pytest.raises(UsageError, match="splice: the content comes from another photograph"):
        forged_samples(tmp_path, 4, ["noise", "splice"])


def test_crops_come_from_all_over_and_at_several_sizes():
    column = np.arange(448)
    photo = np.broadcast_to((column // 2).astype(np.uint8)[None, :, None], (448, 448, 3))
    crops = [module._random_crop(photo, 224, np.random.default_rng(seed)) for seed in range(60)]
    spans = np.array([float(crop.max()) - float(crop.min()) for crop in crops])
    assert all(crop.shape == (224, 224, 3) for crop in crops)
    assert 15 < (spans < 113).sum() < 45, "half are cut out at the photograph's own size"
    assert spans.max() > 180, "others from a reduced one"
    assert 15 < sum(crop[0, 0, 0] > crop[0, -1, 0] for crop in crops) < 45, "half are mirrored"
    assert len({int(crop.min()) for crop in crops}) > 20


def test_samples_are_made_when_asked_for(monkeypatch):
    made = []
    monkeypatch.setattr(module.Recipe, "make", lambda recipe: made.append(recipe.id))
    samples = forged_samples(count=1000)
    assert len(samples) == 1000 and made == []
    next(iter(samples))
    assert made == [samples.ids[0]]


def test_what_cannot_be_forged_is_refused(photos):
    with pytest.raises(UsageError, match=r"'nois'.*\n.*mean 'noise'"):
        forged_samples(kinds=["nois"])
    with pytest.raises(UsageError, match="at least one"):
        forged_samples(kinds=[])
    with pytest.raises(UsageError, match="at least one"):
        forged_samples(count=0)
    with pytest.raises(DataError, match="no such folder"):
        forged_samples(photos / "missing")
    (photos / "none").mkdir()
    with pytest.raises(DataError, match="no photograph"):
        forged_samples(photos / "none")
    Image.new("RGB", (300, 200)).save(photos / "small.png")
    with pytest.raises(DataError, match=r"small\.png: 300 × 200 pixels are too few"):
        forged_samples(photos)
    (photos / "small.png").write_bytes(b"not an image")
    with pytest.raises(DataError, match=r"small\.png: not an image"):
        forged_samples(photos)
