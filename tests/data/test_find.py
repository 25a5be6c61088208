"""Files, folders and globs become images; every image gets a name of its own."""

import os
from pathlib import Path

import pytest

from xai.core import UsageError
from xai.data import find_images, find_videos, unique_ids, unique_stems


@pytest.fixture
def photos(tmp_path):
    for name in ("b.png", "a.JPG", "notes.txt", ".hidden.png", "sub/c.webp", "sub/.trash/d.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def names(paths, folder):
    return [str(path.relative_to(folder)) for path in paths]


def test_folder_means_the_images_below_it_sorted(photos):
    assert names(find_images([photos]), photos) == ["a.JPG", "b.png", "sub/c.webp"]


def test_named_files_are_taken_as_they_are_and_each_once(photos):
    paths = find_images([photos / "notes.txt", photos / "b.png", photos, str(photos / "sub/../b.png")])
    assert names(paths, photos) == ["notes.txt", "b.png", "a.JPG", "sub/c.webp"]


def test_globs(photos):
    assert names(find_images([str(photos / "*.png")]), photos) == ["b.png"]
    assert names(find_images([str(photos / "**/*.[jw]*")]), photos) == ["sub/c.webp"]
    (photos / "odd[1].png").touch()
    assert names(find_images([str(photos / "odd[1].png")]), photos) == ["odd[1].png"]


def test_what_matches_nothing_stays_in_the_list(photos):
    (photos / "empty").mkdir()
    patterns = [photos / "empty", photos / "*.gif", photos / "missing.png"]
    assert find_images(patterns) == patterns


def test_the_excluded_folder_is_not_searched(photos):
    out = photos / "sub"
    assert names(find_images([photos], exclude=out), photos) == ["a.JPG", "b.png"]
    assert names(find_images([str(photos / "*" / "*.webp")], exclude=out), photos) == ["*/*.webp"]
    assert names(find_images([out / "c.webp"], exclude=out), photos) == ["sub/c.webp"]


def test_a_folder_that_is_named_is_searched_whole_though_results_go_there(photos):
    (photos / "sub/deeper").mkdir()
    (photos / "sub/deeper/clip.mp4").touch()
    assert names(find_images([photos], exclude=photos), photos) == ["a.JPG", "b.png", "sub/c.webp"]
    for folder in (photos, photos / "sub"):
        assert names(find_videos(folder, exclude=photos), photos) == ["sub/deeper/clip.mp4"]


def test_pictures_that_were_drawn_among_the_images_are_no_images(tmp_path):
    drawn = ("_real_attention", "_comparison", "_face_parts", "_face0_comparison_on_photograph")
    own = ("a", "a_b", "a_b_attentive", "a_c_comparison", "c_comparison")
    for name in (*own, *(f"a_b{one}" for one in drawn)):
        (tmp_path / f"{name}.png").touch()
    (tmp_path / "a_b_explanation.json").touch()
    assert names(find_images([tmp_path]), tmp_path) == [f"{name}.png" for name in own]
    assert find_images([tmp_path / "a_b_comparison.png"]) == [tmp_path / "a_b_comparison.png"]


def test_results_of_videos_comparisons_and_robustness_are_not_images_or_videos_either(tmp_path):
    written = {
        "clip": ("clip_explanation.json", "clip_filmstrip.png", "clip_timeline.png", "clip_annotated.mp4"),
        "one": ("x_explanation.json", "layer_comparison.png", "x_head_comparison.png"),
        "compared": ("method_panel.png", "method_panel.json"),
        "robustness": ("x_robustness.png", "robustness.json"),
        "own": ("b_timeline.png", "layer_comparison.png", "method_panel.png", "x_robustness.png"),
    }
    for folder, files in written.items():
        (tmp_path / folder).mkdir()
        for name in (*files, "clip.mp4"):
            (tmp_path / folder / name).touch()
    assert names(find_images([tmp_path]), tmp_path) == [f"own/{name}" for name in sorted(written["own"])]
    assert [path.name for path in find_videos(tmp_path)] == ["clip.mp4"] * 5


def test_an_empty_name_is_not_the_folder_one_is_in(photos, monkeypatch):
    """As a shell makes it of a variable that is not set."""
    monkeypatch.chdir(photos)
    with pytest.raises(UsageError, match="empty"):
        find_images([""])


def test_unique_stems_keeps_plain_stems_and_tells_equal_ones_apart(tmp_path):
    paths = [tmp_path / name for name in ("a/x.png", "b/x.png", "b/X.jpg", "y.png")]
    stems = unique_stems(paths)
    assert stems[paths[3]] == "y"
    assert len({stem.casefold() for stem in stems.values()}) == 4
    assert all(stems[path].lower().startswith("x-") for path in paths[:3])
    assert unique_stems(paths[::-1]) == stems
    assert unique_stems(paths[:2])[paths[0]] == stems[paths[0]]


def test_unique_stems_leaves_files_of_other_images_alone(tmp_path):
    mine, other = tmp_path / "a/x.png", tmp_path / "b/x.png"
    assert unique_stems([mine], lambda stem: mine.resolve())[mine] == "x"
    assert unique_stems([mine], lambda stem: other.resolve())[mine].startswith("x-")


@pytest.mark.parametrize("stem", ["layer", "face_layer", "Head"])
def test_a_stem_that_reads_like_a_panel_gets_a_suffix(tmp_path, stem):
    assert unique_stems([tmp_path / f"{stem}.png"])[tmp_path / f"{stem}.png"] != stem


def test_names_stay_unique_and_leave_room_for_what_is_appended(tmp_path):
    names = ["x" * 251, "x" * 250 + "y", "é" * 125, "é" * 100, "short"]
    paths = [tmp_path / f"{name}.png" for name in names]
    stems = unique_stems(paths)
    assert stems[paths[4]] == "short" and len(set(stems.values())) == 5
    assert all(len(os.fsencode(stem)) <= 150 for stem in stems.values())
    assert stems[paths[2]].startswith("é" * 70 + "-")
    assert unique_stems(paths[::-1]) == stems


def test_a_loop_a_missing_home_and_a_nul_stay_in_the_list(tmp_path):
    (tmp_path / "loop.png").symlink_to("loop.png")
    patterns = [
        tmp_path / "loop.png",
        Path("~no-such-user-x/a.png"),
        tmp_path / "a\0*.png",
        tmp_path / ("x" * 300),
    ]
    assert find_images(patterns) == patterns
    assert len(set(unique_stems(patterns).values())) == 4


def test_photographs_of_kinds_that_are_not_read_are_listed(tmp_path):
    for name in ("a.HEIC", "b.jxl", "c.mov"):
        (tmp_path / name).touch()
    assert names(find_images([tmp_path]), tmp_path) == ["a.HEIC", "b.jxl"]


def test_ids_hold_no_control_characters_and_stay_apart(tmp_path):
    paths = [tmp_path / name for name in ("a\n.png", "a\\n.png", "b.png")]
    ids = unique_ids(paths)
    assert len(set(ids.values())) == 3 and all(one.isprintable() for one in ids.values())
    assert ids[paths[2]] == "b"
