"""Files, folders and globs become images; every image gets a name of its own."""

import pytest

from xai.data import find_images, unique_stems


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
