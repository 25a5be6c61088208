"""Folders as DeepfakeBench's preprocess.py and rearrange.py, and DF40, lay them out, become manifests."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from xai.core import ConfigError, DataError
from xai.data import load_samples, read_manifest
from xai.data.frame_folders import label_of, read_dataset_json
from xai.data.manifest import manifest_csv
from xai.data.video_groups import groups_of

FF = "FaceForensics++"
REAL, FAKES = "original_sequences/youtube", "manipulated_sequences"


def video(folder: Path, name: str, numbers, masks=False, landmarks=True) -> list[str]:
    """Frames, landmarks and masks as preprocess.py writes them: crops of 256, here of 8 pixels."""
    for kind in ["frames", *["landmarks"] * landmarks, *["masks"] * masks]:
        (folder / kind / name).mkdir(parents=True, exist_ok=True)
    for number in numbers:
        Image.new("RGB", (8, 8), (number % 256, 0, 0)).save(folder / "frames" / name / f"{number:03d}.png")
        if landmarks:
            np.save(folder / "landmarks" / name / f"{number:03d}.npy", np.full((81, 2), 3))
        if masks:
            mask = np.zeros((8, 8, 3), np.uint8)
            mask[2:5, 2:5] = 255
            Image.fromarray(mask).save(folder / "masks" / name / f"{number:03d}.png")
    return [str(folder / "frames" / name / f"{number:03d}.png") for number in numbers]


@pytest.fixture
def bench(tmp_path):
    """datasets/FaceForensics++ with one pair of videos and a third, and the JSON, in scandir's disorder."""
    base = tmp_path / "datasets" / FF
    listed = {"FF-real": {}, "FF-DF": {}, "FF-F2F": {}}
    for name in ("000", "003", "011"):
        listed["FF-real"][name] = video(base / REAL / "c23", name, range(0, 60, 10))
    for label, method in (("FF-DF", "Deepfakes"), ("FF-F2F", "Face2Face")):
        for name in ("000_003", "003_000"):
            listed[label][name] = video(base / FAKES / method / "c23", name, range(0, 60, 10), masks=True)
            video(base / FAKES / method / "c40", name, range(0, 60, 10))
    content = {
        FF: {
            label: {
                "train": {"c23": {}},
                "test": {
                    compression: {
                        name: {
                            "label": label,
                            "frames": [one.replace("c23", compression) for one in reversed(frames)],
                        }
                        for name, frames in videos.items()
                    }
                    for compression in ("c23", "c40")
                },
            }
            for label, videos in listed.items()
        }
    }
    return write(tmp_path, content)


def write(folder: Path, content, name=FF, prefix=None) -> Path:
    path = folder / "preprocessing/dataset_json" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content)
    path.write_text(text.replace(str(folder), prefix) if prefix else text)
    return path


def test_labels_kinds_groups_masks_and_points_are_read(bench, tmp_path):
    found = read_dataset_json([bench])
    assert found.counts() == {
        ("real", "pristine"): 18,
        ("fake", "Deepfakes"): 12,
        ("fake", "Face2Face"): 12,
    }
    assert found.videos == 7 and not found.missing and not found.notes
    by_group = Counter(row.group for row in found.rows)
    assert by_group == {"000_003": 36, "011": 6}, (
        "the people of 000 and 003 are in all four videos of the pair"
    )
    assert all((row.mask is not None) == (row.label == "fake") for row in found.rows)
    (tmp_path / "manifest.csv").write_text(manifest_csv(found.rows, tmp_path))
    samples = load_samples(read_manifest(tmp_path / "manifest.csv"))
    assert len(samples) == 42
    one = next(sample for sample in samples if sample.kind == "Face2Face")
    assert one.mask.sum() == 9 and one.landmarks.shape == (81, 2) and one.group == "000_003"


def test_frames_are_taken_evenly_by_their_number_not_in_the_order_of_the_json(bench):
    found = read_dataset_json([bench], frames=3)
    first = [row.path for row in found.rows][:3]
    assert [path.stem for path in first] == ["000", "020", "050"]
    assert len(found.rows) == 21
    assert len(read_dataset_json([bench], frames=0).rows) == 42


def test_masks_of_every_compression_lie_beside_c23(bench):
    """Of c40 the real videos are not there."""
    found = read_dataset_json([bench], compression="c40")
    assert len(found.missing) == 18 and {"c40"} == {path.parts[-4] for path in found.missing}
    assert len(found.rows) == 24
    assert {row.mask.parts[-4] for row in found.rows} == {"c23"}
    assert {row.landmarks.parts[-4] for row in found.rows} == {"c40"}


@pytest.mark.parametrize("given", [True, False], ids=["named", "found"])
@pytest.mark.parametrize("windows", [True, False], ids=["windows", "posix"])
def test_a_root_that_has_moved_is_found_by_what_the_paths_have_in_common(bench, tmp_path, windows, given):
    content = bench.read_text().replace(str(tmp_path), "D:/old/disk" if windows else "/mnt/old/disk")
    bench.write_text(content.replace("/", "\\\\") if windows else content)
    found = read_dataset_json([bench], [tmp_path / "datasets" / FF] if given else [])
    assert len(found.rows) == 42 and not found.missing
    (note,) = found.notes
    gone = ("D:/old/disk" if windows else "/mnt/old/disk") + ("/datasets/FaceForensics++" if given else "")
    assert f"{gone}/ was read as {tmp_path}" in note


def test_only_the_common_beginning_may_be_replaced(bench, tmp_path):
    """Below Deepfakes/c23 lie frames/000_003, which Face2Face has too: never taken for one another."""
    bench.write_text(bench.read_text().replace(str(tmp_path), "/mnt/old"))
    with pytest.raises(DataError, match="None of the frames is there: 42 looked for"):
        read_dataset_json([bench], [tmp_path / "datasets" / FF / FAKES / "Deepfakes/c23"])


def test_missing_frames_are_counted_and_others_taken_in_their_place(bench, tmp_path):
    folder = tmp_path / "datasets" / FF / REAL / "c23/frames"
    (folder / "000/050.png").unlink()
    for path in (folder / "011").iterdir():
        path.unlink()
    found = read_dataset_json([bench], frames=3)
    assert {path.parent.name for path in found.missing} == {"000", "011"} and len(found.missing) == 7
    assert [row.path.stem for row in found.rows][:3] == ["000", "020", "040"]
    assert found.videos == 6


def test_df40_says_fake_and_real_in_the_label_and_has_no_compression(tmp_path):
    """Fakes of a method lie in one folder, the real ones of FaceForensics++ in another; two roots."""
    fakes = video(tmp_path / "a/DF40/simswap/ff", "000_003", range(4), masks=True)
    real = video(tmp_path / "b" / FF / REAL / "c23", "000", range(4), landmarks=False)
    old = "deepfakes_detection_datasets\\"
    listed = {
        "simswap_ff": {
            "simswap_Real": {"test": {"000": {"label": "simswap_Real", "frames": [
                one.replace(f"{tmp_path}/b/", old).replace("/", "\\") for one in real]}}},
            "simswap_Fake": {"test": {"000_003": {"label": "simswap_Fake", "frames": [
                one.replace(f"{tmp_path}/a/", old).replace("/", "\\") for one in fakes]}}},
        }
    }  # fmt: skip
    path = write(tmp_path, listed, "simswap_ff")
    found = read_dataset_json([path.parent], [tmp_path / "a", tmp_path / "b"])
    assert found.counts() == {("real", "pristine"): 4, ("fake", "simswap"): 4}
    assert {row.group for row in found.rows} == {"000_003"} and len(found.notes) == 2


def test_a_renamed_folder_is_named_with_the_beginning_that_it_stands_for(tmp_path):
    """As DF40 unpacked elsewhere: the paths of fakes and real videos differ where it was renamed."""
    fakes = video(tmp_path / "my_df40/blendface", "id0_id1_0000", range(2))
    real = video(tmp_path / "Celeb-DF-v2/Celeb-real", "id0_0000", range(2))
    old = "deepfakes_detection_datasets"
    listed = {"blendface_cdf": {
        "blendface_Real": {"test": {"id0_0000": {"label": "blendface_Real", "frames": [
            one.replace(str(tmp_path), old) for one in real]}}},
        "blendface_Fake": {"test": {"id0_id1_0000": {"label": "blendface_Fake", "frames": [
            one.replace(f"{tmp_path}/my_df40/blendface", f"{old}/DF40/blendface/cdf") for one in fakes]}}},
    }}  # fmt: skip
    path = write(tmp_path / "elsewhere", listed, "blendface_cdf")
    assert len(read_dataset_json([path], [tmp_path]).missing) == 2
    given = [tmp_path, f"{old}/DF40/blendface/cdf={tmp_path}/my_df40/blendface"]
    found = read_dataset_json([path], given)
    assert not found.missing and len(found.rows) == 4 and len(found.notes) == 2
    assert {row.group for row in found.rows} == {"id0_0000"}, (
        "the face in the video of person 0, and that video"
    )
    with pytest.raises(DataError, match="nowhere: no such folder"):
        read_dataset_json([path], [f"{old}=nowhere"])


def test_masks_and_points_of_frames_all_lie_in_folders_named_likewise_or_plainly(tmp_path):
    """DF40's rearrange.py reads frames_all; DeepfakeBench's loader replaces `frames` in the path."""
    base = tmp_path / FF / FAKES / "Deepfakes/c23"
    frames = video(base, "000_003", range(2), masks=True)
    (base / "frames").rename(base / "frames_all")
    (base / "masks").rename(base / "masks_all")
    moved = [one.replace("/frames/", "/frames_all/") for one in frames]
    listed = {"FF-DF": {"FF-DF": {"test": {"c23": {"000_003": {"label": "FF-DF", "frames": moved}}}}}}
    rows = read_dataset_json([write(tmp_path, listed)]).rows
    assert [row.mask.parts[-3] for row in rows] == ["masks_all"] * 2
    assert [row.landmarks.parts[-3] for row in rows] == ["landmarks"] * 2


def test_files_that_list_the_same_real_videos_give_each_image_once(bench, tmp_path):
    content = json.loads(bench.read_text())[FF]
    for label in ("FF-DF", "FF-F2F"):  # as rearrange.py writes one file a method beside the whole
        write(tmp_path, {label: {"FF-real": content["FF-real"], label: content[label]}}, label)
    found = read_dataset_json([bench.parent])
    assert len(found.rows) == 42 and not found.missing
    assert found.videos == len({row.path.parent for row in found.rows})
    assert len(read_dataset_json([bench.parent], datasets=["FF-DF"]).rows) == 30


def test_a_video_where_videos_by_name_should_be_is_read_as_one(tmp_path):
    """rearrange.py overwrites the val split of DFDC with its last video."""
    frames = video(tmp_path / "DFDC/test", "aalscayrfi", range(2))
    one = {"label": "DFDC_Fake", "frames": frames}
    path = write(tmp_path, {"DFDC": {"DFDC_Fake": {"val": one}}}, "DFDC")
    found = read_dataset_json([path], split="val")
    assert [row.group for row in found.rows] == ["DFDC_Fake/aalscayrfi"] * 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[1]", "at the top stands something else than a mapping"),
        ('{"a": {"b_real": {"test": {"v": {"label": "b_real", "frames": "x"}}}}}', "b_real → test → v"),
        ('{"a": {"b_real": {"train": {}}}}', "None of the frames"),
        ("{", "Cannot read the dataset"),
    ],
)
def test_a_file_of_another_form_is_refused_with_the_place(tmp_path, content, words):
    (tmp_path / "x.json").write_text(content)
    with pytest.raises((ConfigError, DataError), match=words):
        read_dataset_json([tmp_path / "x.json"])


def test_unknown_splits_compressions_datasets_and_labels_name_those_that_there_are(bench, tmp_path):
    with pytest.raises(ConfigError, match=r"no split 'dev'.\n.*test"):
        read_dataset_json([bench], split="dev")
    with pytest.raises(ConfigError, match=r"no compression 'raw'.\n.*c23, c40"):
        read_dataset_json([bench], compression="raw")
    with pytest.raises(ConfigError, match="FaceForensics"):
        read_dataset_json([bench], datasets=["FaceForensics"])
    bench.write_text(bench.read_text().replace("FF-F2F", "FF-new"))
    with pytest.raises(ConfigError, match="--label FF-new=fake"):
        read_dataset_json([bench])
    found = read_dataset_json([bench], labels={"FF-new": "fake"})
    assert found.counts()["fake", "FF-new"] == 12


def test_real_and_fake_are_read_from_the_last_word():
    fakes = ["CelebDFv2_fake", "DFDCP_FakeA", "sd2.1_Fake", "FF-NT", "DFD_fake"]
    assert [label_of(name, {}) for name in fakes] == ["fake"] * 5
    assert [label_of(name, {}) for name in ("FF-real", "DFDC_Real", "fakeAVCeleb_real")] == ["real"] * 3


def test_people_linked_by_pairs_are_one_group():
    names = ["000", "003", "000_003", "003_000", "005_010", "010_005", "7", "011"]
    assert groups_of(["id0_id1_0002", "id0_0002", "id9_0002", "id0_x"]) == {
        "id0_id1_0002": "id0_0002", "id0_0002": "id0_0002", "id9_0002": "id9_0002",
    }  # fmt: skip
    assert groups_of(names) == {
        "000": "000_003", "003": "000_003", "000_003": "000_003", "003_000": "000_003",
        "005_010": "005_010", "010_005": "005_010", "011": "011",
    }  # fmt: skip
    chain = [f"{n:03d}_{n + 1:03d}" for n in range(6)]
    assert set(groups_of(chain).values()) == {"000 and 6 more"}


def test_a_missing_frame_that_two_files_list_is_one(bench, tmp_path):
    """The real videos stand in every method's file."""
    path = next(tmp_path.glob("**/*.json"))
    content = json.loads(path.read_text())
    gone = Path(content[FF]["FF-real"]["test"]["c23"]["000"]["frames"][0])
    gone.unlink()
    other = path.with_name("FF-DF.json")
    other.write_text(path.read_text())
    found = read_dataset_json([path, other], [tmp_path])
    assert [one.name for one in found.missing] == [gone.name]
