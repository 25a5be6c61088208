"""What can be saved is what the command line writes."""

import json
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from serving import added, png
from tiny_detector import classifier, photo, write_detector
from typer.testing import CliRunner

from xai.cli.main import app
from xai.core import Sample, UsageError
from xai.explanation import Explainer, Failure, read_method_file
from xai.report import draw_comparison
from xai.report.payload import Page

METHODS = ["saliency", "gradient_weighted_attention"]


@pytest.fixture
def explained(bench, heard):
    images = [added(bench, heard, seed) for seed in range(2)]
    heard.end_of(bench.explain(images, METHODS))

    def save(kind, images=images, methods=METHODS, target="fake"):
        job = bench.save(kind, images, methods, target)
        assert heard.end_of(job)["state"] == "done", heard.end_of(job)
        (told,) = [one for one in heard.of("file") if one["job"] == job]
        return bench.files[told["id"]]

    return images, save


def test_a_picture_of_one_method_is_the_comparison(explained):
    images, save = explained
    file = save("picture", images[:1], METHODS[:1])
    (expected,) = Explainer(classifier(), METHODS[0]).explain([Sample("photo-0.png", photo(0))])
    assert not isinstance(expected, Failure)
    drawn = draw_comparison(expected, "fake", "real").pixels()
    with Image.open(BytesIO(file.content)) as found:
        assert np.array_equal(np.asarray(found.convert("RGB")), drawn)
    assert file.name == "photo-0_comparison.png"


def test_a_picture_of_several_methods_is_their_panel(explained):
    images, save = explained
    file = save("picture", images[:1])
    assert file.name == "method_panel.png"
    with Image.open(BytesIO(file.content)) as found:
        found.load()


def test_the_page_is_the_ordinary_one(explained, monkeypatch):
    images, save = explained
    pages: list[Page] = []
    whole = __import__("xai.report", fromlist=["to_html"]).to_html
    monkeypatch.setattr("xai.report.to_html", lambda page: pages.append(page) or whole(page), raising=False)
    one, several = save("page", images, METHODS[:1]), save("page", images)
    assert one.content.decode().startswith("<!DOCTYPE html>")
    assert [page.kind for page in pages] == ["explanation", "comparison"]
    assert [[image.name for image in page.images] for page in pages] == [["photo-0.png", "photo-1.png"]] * 2
    assert set(pages[0].classes) == {"real", "fake"}
    assert pages[1].classes == ["fake"]
    assert all(image.removals for page in pages for image in page.images)
    assert several.media_type.startswith("text/html")


def test_a_class_that_no_image_has_maps_of_is_refused(explained, bench, heard):
    images, _ = explained
    end = heard.end_of(bench.save("page", images, METHODS, "cat"))
    assert end["state"] == "failed"
    assert end["message"] == "No image has maps of cat by all of these methods."
    with pytest.raises(UsageError, match="no 'video' to save"):
        bench.save("video", images, METHODS, "fake")


def test_the_configuration_makes_the_same_map_again(explained, bench, tmp_path, monkeypatch):
    images, save = explained
    file = save("configuration", images[:1], METHODS[1:])
    monkeypatch.chdir(tmp_path)
    path = tmp_path / file.name
    path.write_bytes(file.content)
    found = read_method_file(path)
    held = bench.images[images[0]].explanations[METHODS[1]]
    assert found.method == METHODS[1]
    assert found.options == held.options
    (tmp_path / "a.png").write_bytes(png(photo(0)))
    given = ["--config", str(write_detector(tmp_path)), "--method-config", str(path), "--pictures", "none"]
    result = CliRunner().invoke(app, ["explain", "a.png", *given])
    assert result.exit_code == 0, result.stderr
    record = json.loads((tmp_path / "attention_results" / "a_explanation.json").read_text("utf-8"))
    assert record["method"] == {"name": held.method, "options": held.options}


def test_few_files_are_held(explained, bench):
    images, save = explained
    for _ in range(5):
        save("configuration", images[:1], METHODS[:1])
    assert len(bench.files) == 3
