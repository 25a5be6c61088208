"""Pictures and samples that a program holds are explained as files of the same content are."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_detector import classifier, photo

import xai
from xai.attr import METHODS
from xai.core import ConfigError, DataError, Sample, UsageError
from xai.explanation import Failure, gather

GWA = "gradient_weighted_attention"


@pytest.fixture(scope="module")
def model():
    return classifier(layers=1)


def explained(given, model, **options):
    return xai.explain(given, model, method=GWA, **options)


def transparent():
    pixels = np.asarray(photo().convert("RGBA")).copy()
    pixels[:16, :, 3] = 0
    return Image.fromarray(pixels)


def deep():
    return Image.fromarray(np.asarray(photo().convert("L")).astype(np.uint16) * 257)


@pytest.mark.parametrize("made", [transparent, deep, lambda: transparent().quantize()])
def test_transparency_and_16_bits_are_those_of_a_file(tmp_path, model, made):
    made().save(tmp_path / "a.png")
    (of_file,), (of_picture,) = explained(tmp_path / "a.png", model), explained(made(), model)
    np.testing.assert_array_equal(of_picture.logits, of_file.logits)
    np.testing.assert_array_equal(np.asarray(of_picture.sample.image), np.asarray(of_file.sample.image))


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_an_opened_photograph_is_upright(tmp_path, model, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    photo().save(tmp_path / "a.jpg", exif=exif)
    (of_file,) = explained(tmp_path / "a.jpg", model)
    with Image.open(tmp_path / "a.jpg") as opened:
        (of_picture,) = explained(opened, model)
    np.testing.assert_array_equal(of_picture.maps["fake"], of_file.maps["fake"])
    assert of_picture.sample.image.size == of_file.sample.image.size


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (Image.fromarray(np.zeros((8, 8), np.float32)), "no agreed white level"),
        (Image.new("RGB", (0, 5)), "no pixels"),
        (Sample("x", Image.fromarray(np.zeros((8, 8), np.int32))), "x: 32-bit grey"),
        (Sample("x", photo(), mask=np.zeros((40, 32), bool)), r"\(40, 32\)[\s\S]*\(32, 40\)"),
    ],
)
def test_what_no_file_could_be_is_refused(model, given, message):
    with pytest.raises(DataError, match=message):
        explained(given, model)


def test_a_picture_that_breaks_off_costs_itself_only(tmp_path, model):
    photo(size=(200, 200)).save(tmp_path / "a.jpg", quality=95)
    (tmp_path / "a.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:9000])
    failures: list[Failure] = []
    with Image.open(tmp_path / "a.jpg") as broken:
        explanations = explained([broken, photo()], model, failures=failures)
    assert [one.sample.id for one in explanations] == ["image-2"]
    assert "broken image" in str(failures[0].error)


def test_a_sample_is_not_turned_since_its_mask_is_not(model):
    picture = transparent()
    picture.getexif()[274] = 6
    (explanation,) = explained(Sample("x", picture, mask=np.zeros((32, 40), bool)), model)
    assert (explanation.sample.image.mode, explanation.sample.image.size) == ("RGB", (40, 32))


@pytest.mark.parametrize("ids", [["x", "X"], ["image-2", None]])
def test_no_sample_takes_the_files_of_another(model, ids):
    given = [photo(n) if one is None else Sample(one, photo(n)) for n, one in enumerate(ids)]
    with pytest.raises(UsageError, match="2 images have the id"):
        explained(given, model)


def test_a_file_is_named_otherwise_than_a_sample_beside_it(tmp_path, model):
    photo().save(tmp_path / "x.png")
    explanations = explained([Sample("x", photo(1)), tmp_path / "x.png"], model, out=tmp_path / "out")
    ids = [one.sample.id for one in explanations]
    assert ids[0] == "x" and ids[1].startswith("x-")
    assert len(list((tmp_path / "out").glob("*_explanation.json"))) == 2


@pytest.mark.parametrize("name", ["../x", "a/b", "a\\b", "", ".", "..", "x" * 200])
def test_an_id_leads_to_no_file_elsewhere(tmp_path, model, name):
    with pytest.raises(UsageError, match="cannot be the name of its files"):
        explained(Sample(name, photo()), model, out=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_sample_of_no_file_and_a_file_that_is_gone_have_records_without_a_digest(tmp_path, model):
    sample = Sample("x", photo(), Path("archive.zip/x.png"))
    explanations = explained([sample, replace(sample, id="y")], model, out=tmp_path)
    assert len(explanations) == 2
    assert '"sha256": null' in (tmp_path / "x_explanation.json").read_text("utf-8")


def test_what_a_manifest_says_of_an_image_counts_wherever_else_it_is_named(tmp_path):
    photo().save(tmp_path / "a.png")
    (tmp_path / "known.csv").write_text("path,label\na.png,fake\n")
    (tmp_path / "other.csv").write_text("path,label\na.png,real\n")
    image, known, other = (tmp_path / name for name in ("a.png", "known.csv", "other.csv"))
    for given in ([image, known], [known, image], [known, known]):
        (row,) = gather(given, None)
        assert row.label == "fake"
    with pytest.raises(ConfigError, match=r"other.csv:2: .*known.csv:2, with other values"):
        gather([known, other], None)


@pytest.mark.parametrize(
    ("call", "options", "message"),
    [
        ("explain", {"batch_size": "8"}, r"batch_size='8' is not understood\.\n.*a whole number"),
        ("explain", {"batch_size": 2.5}, "batch_size=2.5"),
        ("explain", {"batch_size": None}, "batch_size=None"),
        ("explain", {"seed": "a"}, "seed='a'"),
        ("explain", {"out": 5}, r"out=5 .*\n.*a word or a path"),
        ("explain", {"boxes": 5}, "boxes=5"),
        ("explain", {"box": "1,2,3,4"}, r"box='1,2,3,4' .*\n.*four numbers"),
        ("explain", {"box": (1, 2, 3)}, r"box=\(1, 2, 3\)"),
        ("explain", {"box": ("1", "2", "3", "4")}, "box="),
        ("explain", {"folders": "no"}, "folders='no'"),  # a word is true, whatever it says
        ("explain", {"whole_image": "no"}, "whole_image='no'"),
        ("explain", {"part_removal": "no"}, "part_removal='no'"),
        ("explain", {"failures": ()}, r"failures=\(\)"),
        ("explain", {"lang": 3}, "no language 3"),
        ("explain", {"method": 3}, "3 is no method"),
        ("explain", {"method": ["saliency"]}, "is no method"),
        ("explain", {"method": dict}, "is no method"),
        ("compare", {"methods": "saliency"}, r"methods='saliency' .*\n.*a list of names"),
        ("compare", {"methods": 3}, "methods=3"),
        ("compare", {"methods": [3]}, "3 is no method"),
        ("compare", {"methods": {"saliency": None}}, "options of saliency are None"),
        ("compare", {"methods": {"saliency": [1]}}, r"options of saliency are \[1\]"),
        ("compare", {"methods": ["saliency"], "batch_size": "8"}, "batch_size='8'"),
        ("compare", {"methods": ["saliency"], "out": 3}, "out=3"),
        ("compare", {"methods": ["saliency"], "target": ["real", "fake"]}, "one class or contrast"),
    ],
)
def test_arguments_of_another_type_are_refused_in_a_sentence(model, call, options, message):
    with pytest.raises(UsageError) as error:
        getattr(xai, call)(photo(), model, **options)
    assert re.search(message, str(error.value))


@pytest.mark.parametrize("config", [3, None, [1]])
def test_what_is_no_configuration_of_a_benchmark(tmp_path, config):
    with pytest.raises(ConfigError, match="is no configuration"):
        xai.benchmark(config, tmp_path)


def test_a_box_may_be_an_array_and_a_method_to_compare_a_class(model):
    explained(photo(), model, box=np.array([0, 0, 8, 8]))
    compared = xai.compare(photo(), model, [METHODS["saliency"]])
    assert list(compared.rows[0]) == ["saliency"]
