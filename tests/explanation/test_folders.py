"""A folder for each image: which files go where, and that none of another image or of the user is touched."""

import json
import sys

import pytest
from tiny_detector import classifier, photo, write_photos

from xai.explanation import Explainer, explain, explain_each

pytestmark = pytest.mark.usefixtures("coarse_pictures")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def record(path):
    return json.loads(path.read_text("utf-8"))


def of(folder):
    """Files below, without the page."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_from_21_images_on_each_has_a_folder_with_the_same_files(tmp_path, monkeypatch):
    assert sys.modules["xai.explanation.explain"].MOST_TOGETHER == 20
    monkeypatch.setattr(sys.modules["xai.explanation.explain"], "MOST_TOGETHER", 2)
    paths = write_photos(tmp_path / "in", 3)
    few, many = tmp_path / "few", tmp_path / "many"
    explain(paths[:2], classifier(), target="fake", out=few)
    assert len(names(few)) == 6 and not [path for path in few.iterdir() if path.is_dir()]
    explain(paths, classifier(), target="fake", out=many)
    assert names(many) == ["0", "1", "2"]
    assert [f"1/{name}" for name in names(few) if name.startswith("1_")] == [
        name for name in of(many) if name.startswith("1/")
    ]
    content = record(many / "1" / "1_explanation.json")
    assert sorted(content["files"].values()) == [name for name in of(many) if name.startswith("1/")]
    before = of(many)
    explain(paths, classifier(), target="fake", out=many)
    assert of(many) == before


def test_one_of_many_is_written_again_where_it_is(tmp_path):
    paths = write_photos(tmp_path / "in", 2)
    out = tmp_path / "out"
    explain(paths, classifier(), target="fake", out=out, folders=True)
    explain(paths[1], classifier(), target="real", out=out)
    assert "1/1_real_attention.png" in of(out)
    assert names(out) == ["0", "1"]


def test_files_move_with_the_images_and_are_never_there_twice(tmp_path):
    (path,) = write_photos(tmp_path / "in", 1)
    out = tmp_path / "out"
    explain(path, classifier(), out=out)
    (out / "0_notes.txt").write_text("mine")
    side_by_side = of(out)
    explain(path, classifier(), out=out, folders=True)
    assert of(out) == sorted(
        ["0_notes.txt", *(f"0/{name}" for name in side_by_side if name != "0_notes.txt")]
    )
    explain(path, classifier(), out=out, folders=False)
    assert of(out) == side_by_side and not (out / "0").exists()


def test_a_folder_of_another_image_is_left_alone(tmp_path):
    first, second = write_photos(tmp_path / "a", 1)[0], write_photos(tmp_path / "b", 1)[0]
    out = tmp_path / "out"
    explain(first, classifier(), target="fake", out=out, folders=True)
    before = {path: path.read_bytes() for path in (out / "0").iterdir()}
    for folders in (True, False):
        explain(second, classifier(), target="fake", out=out, folders=folders, pictures="none")
    assert all(path.read_bytes() == content for path, content in before.items())
    assert len(names(out)) == 3 and not list(out.glob("0_*"))


@pytest.mark.parametrize("name", ["...png", "..png", "index.html.png", "0_maps.safetensors.png"])
def test_a_name_that_cannot_be_a_folder_s_gets_a_suffix(tmp_path, name):
    path = tmp_path / "in" / name
    path.parent.mkdir()
    photo().save(path, format="PNG")
    out = tmp_path / "x" / "out"
    explain(path, classifier(), target="fake", out=out, folders=True)
    assert len(of(tmp_path / "x")) == 3
    (folder,) = out.iterdir()
    assert folder.name.startswith(f"{path.stem}-") and len(of(folder)) == 3


def test_a_record_that_lists_files_of_others_deletes_none(tmp_path):
    """A record is read before it was proved to be ours, and may say anything."""
    (path,) = write_photos(tmp_path / "in", 1)
    out = tmp_path / "out"
    explain(path, classifier(), target="fake", out=out)
    (tmp_path / "mine.png").write_text("mine")
    content = record(out / "0_explanation.json")
    content["files"] = {"a": "../mine.png", "b": str(tmp_path / "mine.png"), "c": 3, "d": None}
    (out / "0_explanation.json").write_text(json.dumps(content))
    explain(path, classifier(), target="fake", out=out, folders=True, pictures="none")
    assert (tmp_path / "mine.png").exists()


def test_panels_are_drawn_whatever_pictures_are_left_out(tmp_path):
    paths = write_photos(tmp_path / "in", 2)
    explainer = Explainer(classifier(), "gradient_weighted_attention")
    found = list(explain_each(explainer, paths, tmp_path, pictures="none", folders=True, layers_panel=True))
    assert [list(one.record["files"].values()) for one in found] == [
        [f"{stem}/{stem}_{name}" for name in ("layer_comparison.png", "maps.safetensors", "explanation.json")]
        for stem in "01"
    ]
