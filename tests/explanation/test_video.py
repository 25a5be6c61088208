"""A video explained: every frame as if it were an image, nothing kept of it, and what is written."""

import csv
import json
import os
import weakref
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import av
import numpy as np
import pytest
from clips import cut_off, write_clip
from PIL import Image
from safetensors import safe_open
from tiny_detector import classifier, photo

import xai
from xai.core import DataError, UsageError
from xai.explanation import Explainer, explain_each_video, gather, video_files
from xai.explanation.video import explain_frames
from xai.explanation.video_files import MOST_FRAMES, page_places
from xai.report.video_words import clock, followed_class
from xai.video import Video, parse_sampling

pytestmark = pytest.mark.usefixtures("coarse_pictures")
METHOD = "gradient_weighted_attention"


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", 12)


@pytest.fixture(scope="module")
def written(clip, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    found = xai.explain_video(clip, classifier(), method=METHOD, every="1f", out=out, batch_size=5)
    record = json.loads((out / "clip" / "clip_explanation.json").read_text("utf-8"))
    return found, out / "clip", record


def test_each_frame_is_explained_as_the_image_that_it_is(clip, written):
    found, _, _ = written
    with Video(clip) as video:
        images = [frame.image for frame in video.frames(parse_sampling("1f"))]
    plain = xai.explain(images, classifier(), method=METHOD, batch_size=5)
    for place, one in enumerate(plain):
        np.testing.assert_array_equal(found.logits[place], one.logits)
        for name, values in one.maps.items():
            np.testing.assert_array_equal(found.maps(name)[place], values)
    assert [frame.number for frame in found.frames] == list(range(12))


def test_the_video_is_the_mean_of_its_frames_and_the_median_stands_beside_it(written):
    found, _, record = written
    each = np.exp(found.logits - found.logits.max(1, keepdims=True))
    each /= each.sum(1, keepdims=True)
    for place, label in enumerate(("real", "fake")):
        assert record["probabilities"][label] == pytest.approx(each[:, place].mean(), abs=1e-6)
        assert record["median_probabilities"][label] == pytest.approx(np.median(each[:, place]), abs=1e-6)
    assert record["predicted"] == found.predicted
    assert sum(record["share_of_frames"].values()) == pytest.approx(1)


def test_the_files_say_the_same(clip, written):
    found, folder, record = written
    assert found.seconds == pytest.approx(1.2)
    assert {path.name for path in folder.iterdir()} == {
        name.partition("/")[2] for name in record["files"].values()
    }
    assert record["video"]["sha256"] == sha256(clip.read_bytes()).hexdigest()
    rows = list(csv.DictReader((folder / "clip_frames.csv").open(encoding="utf-8")))
    assert [int(row["frame"]) for row in rows] == list(range(12))
    np.testing.assert_allclose([float(row["seconds"]) for row in rows], np.arange(12) / 10, atol=1e-6)
    np.testing.assert_allclose([float(row["P(fake)"]) for row in rows], found.frame_probabilities[:, 1])
    np.testing.assert_allclose(
        [float(row["margin"]) for row in rows], found.logits[:, 1] - found.logits[:, 0], rtol=1e-5
    )
    assert rows[0]["change"] == ""
    changes = np.diff(found.frame_probabilities[:, 1])
    np.testing.assert_allclose([float(row["change"]) for row in rows[1:]], changes)
    with safe_open(folder / "clip_maps.safetensors", "numpy") as file:
        np.testing.assert_array_equal(file.get_tensor("fake"), found.maps("fake"))
        assert json.loads(file.metadata()["frames"]) == list(range(12))
    strongest = found.maps("fake")[4]
    assert (int(rows[4]["strongest_row"]), int(rows[4]["strongest_column"])) == np.unravel_index(
        strongest.argmax(), strongest.shape
    )


def test_the_frames_that_matter(written):
    found, _, record = written
    margins, change = np.abs(found.margins), np.abs(np.diff(found.frame_probabilities[:, 1]))
    assert [one["frame"] for one in record["key_frames"]["most_certain"]] == np.argsort(-margins)[:3].tolist()
    ranked = [place for place in np.argsort(-change)[:3] if change[place] >= 0.05]
    assert [one["frame"] for one in record["key_frames"]["changing_most"]] == [one + 1 for one in ranked]
    assert record["flicker"]["fake"]["pairs"] == 11


def test_the_annotated_video_shows_each_frame_at_its_time(written):
    _, folder, _ = written
    with av.open(str(folder / "clip_annotated.mp4")) as file:
        stream = file.streams.video[0]
        assert stream.codec_context.pix_fmt == "yuv420p"
        times = [float(frame.time) for frame in file.decode(stream)]
        assert float(stream.duration * stream.time_base) == pytest.approx(1.2, abs=0.02)
        assert stream.codec_context.width % 2 == stream.codec_context.height % 2 == 0
    assert times == pytest.approx(np.arange(12) / 10, abs=2e-3)


def test_frames_of_one_video_are_one_group(clip):
    groups = set()

    class Watched(Explainer):
        def prepare(self, sample):
            groups.add(sample.group)
            assert sample.origin.image is sample.image
            return super().prepare(sample)

    explain_frames(Watched(classifier(), METHOD), clip, "clip", parse_sampling(frames=4))
    assert groups == {"clip"}


def test_few_frames_are_alive_however_many_there_are(tmp_path, monkeypatch):
    clip = write_clip(tmp_path / "long.mp4", 60, size=(48, 32), group=12)
    seen, most = [], 0
    frames = Video.frames

    def watched(self, sampling):
        nonlocal most
        for frame in frames(self, sampling):
            seen.append(weakref.ref(frame.image))
            most = max(most, sum(one() is not None for one in seen))
            yield frame

    monkeypatch.setattr(Video, "frames", watched)
    found = xai.explain_video(
        clip, classifier(), method=METHOD, every="1f", out=tmp_path / "out", batch_size=4
    )
    assert len(found.frames) == 60
    assert most <= 3 * 4 + 2


def test_nothing_but_numbers_without_pictures_and_what_was_there_goes(clip, tmp_path):
    explainer = Explainer(classifier(), METHOD)
    (one,) = explain_each_video(explainer, [clip], tmp_path, parse_sampling(frames=3))
    assert (tmp_path / "clip" / "index.html").exists()
    assert (tmp_path / "clip" / "clip_annotated.mp4").exists()
    (one,) = explain_each_video(explainer, [clip], tmp_path, parse_sampling(frames=3), pictures="none")
    names = {"clip_explanation.json", "clip_frames.csv", "clip_maps.safetensors"}
    assert {path.name for path in (tmp_path / "clip").iterdir()} == names
    assert set(one.record["files"]) == {"record", "frames", "maps"}


def test_an_image_and_a_video_of_one_name_keep_their_files_apart(clip, tmp_path):
    photo().save(tmp_path / "clip.png")
    out = tmp_path / "out"
    xai.explain(tmp_path / "clip.png", classifier(), method=METHOD, out=out, pictures="none")
    for _ in range(2):  # and they are the same names again
        xai.explain_video(clip, classifier(), method=METHOD, frames=2, out=out, pictures="none")
        xai.explain(tmp_path / "clip.png", classifier(), method=METHOD, out=out, pictures="none")
    assert (out / "clip_explanation.json").exists()
    (folder,) = [path for path in out.iterdir() if path.is_dir()]
    assert folder.name.startswith("clip-")


def test_of_many_classes_the_first_frames_two_are_followed(clip):
    model = classifier(tuple("abcde"))
    found = xai.explain_video(clip, model, method=METHOD, frames=4)
    ranked = np.argsort(-found.logits[0])[:2]
    assert found.names == tuple("abcde"[place] for place in ranked)
    assert all(set(frame.maps) == set(found.names) for frame in found.frames)


def test_a_crop_of_each_frame(clip):
    found = xai.explain_video(clip, classifier(), method=METHOD, frames=2, box=(10, 10, 40, 40))
    with Video(clip) as video:
        image = next(video.frames(parse_sampling(frames=2))).image
    (plain,) = xai.explain(image, classifier(), method=METHOD, box=(10, 10, 40, 40))
    np.testing.assert_allclose(found.maps("fake")[0], plain.maps["fake"], rtol=1e-4)  # in another batch
    with pytest.raises(DataError, match="box"):
        xai.explain_video(clip, classifier(), method=METHOD, box=(500, 10, 40, 40))


def test_a_broken_video_is_a_failure_and_the_others_go_on(clip, tmp_path):
    cut = cut_off(write_clip(tmp_path / "a.mp4"), 0.6)
    explainer = Explainer(classifier(), METHOD)
    broken, whole = explain_each_video(explainer, [cut, clip], None, parse_sampling(frames=2))
    assert "cut off before its index" in str(broken.error)
    assert whole.record["video"]["id"] == "clip"


def test_a_cut_video_says_so_in_its_record(tmp_path):
    whole = write_clip(tmp_path / "clip.mp4", 40, container={"movflags": "faststart"})
    (one,) = explain_each_video(
        Explainer(classifier(), METHOD), [cut_off(whole, 0.5)], None, parse_sampling("5f")
    )
    assert "cut off" in one.record["warnings"][0]


def test_a_folder_stands_for_its_images_or_else_for_its_videos(clip, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one.mp4").write_bytes(clip.read_bytes())
    (tmp_path / "a" / "notes.txt").write_text("")
    assert gather(tmp_path / "a", None) == [tmp_path / "a" / "one.mp4"]
    photo().save(tmp_path / "a" / "photo.png")
    assert gather(tmp_path / "a", None) == [tmp_path / "a" / "photo.png"]


def test_the_call_for_images_names_the_one_for_videos(clip):
    with pytest.raises(DataError, match=r"a video \(MP4 or QuickTime\)[^$]*xai\.explain_video"):
        xai.explain(clip, classifier())


def test_a_page_holds_what_matters_and_some_of_the_rest():
    assert page_places(7, [3]) == list(range(7))
    places = page_places(10_000, [1234, 777])
    assert len(places) <= MOST_FRAMES
    assert {0, 777, 1234, 9999} <= set(places)


def test_words():
    assert [clock(0), clock(3.199), clock(62.5), clock(3660)] == ["0:00.00", "0:03.20", "1:02.50", "61:00.00"]
    assert followed_class(("real", "fake"), ("real", "fake"), "real") == "fake"
    assert followed_class(("cat", "dog"), ("cat", "dog"), "dog") == "dog"
    assert followed_class(("fake-real",), ("real", "fake"), "real") == "fake-real"


def test_pictures_are_one_of_three(clip):
    with pytest.raises(UsageError, match="pictures"):
        list(explain_each_video(Explainer(classifier(), METHOD), [clip], None, pictures="some"))


def test_a_frame_of_another_size_midway_is_left_out(tmp_path, monkeypatch):
    """Of a model whose grid follows the image, as where recordings were joined."""
    clip = write_clip(tmp_path / "clip.mp4", 4)
    frames = Video.frames

    def resized(self, sampling):
        for frame in frames(self, sampling):
            if frame.number == 2:
                object.__setattr__(frame, "image", frame.image.resize((320, 120), Image.Resampling.BICUBIC))
            yield frame

    monkeypatch.setattr(Video, "frames", resized)
    explainer = Explainer(classifier(), METHOD)
    plain = explainer.explain
    monkeypatch.setattr(explainer, "explain", lambda samples: map(_narrow, plain(samples)))
    found = explain_frames(explainer, clip, "clip", parse_sampling("1f"))
    assert [frame.number for frame in found.frames] == [0, 1, 3]
    assert found.remarks == ["1 frame could not be explained and was left out; the record says why."]
    assert "another grid" in str(found.failures[0].error)


def _narrow(explanation):
    if explanation.sample.image.width != 320:
        return explanation
    return replace(explanation, maps={name: values[:2] for name, values in explanation.maps.items()})


def test_without_an_annotated_video_the_rest_is_written_and_it_is_said(clip, tmp_path, monkeypatch):
    def refuse(*args, **options):
        raise DataError("mpeg4 cannot write this video (too large).")

    monkeypatch.setattr(video_files, "write_mp4", refuse)
    (one,) = explain_each_video(Explainer(classifier(), METHOD), [clip], tmp_path, parse_sampling(frames=2))
    assert one.record["warnings"] == [
        "There is no annotated video: mpeg4 cannot write this video (too large)."
    ]
    assert "annotated" not in one.record["files"]
    assert (tmp_path / "clip" / "index.html").exists()


def test_a_name_that_is_no_text(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", 2)
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/odd\xff\n.mp4"))
    path.rename(odd)
    found = xai.explain_video(odd, classifier(), method=METHOD, out=tmp_path / "out")
    page = (tmp_path / "out" / found.id / "index.html").read_text("utf-8")
    assert r"odd\udcff\n.mp4" in page


def test_a_very_high_video_is_drawn_and_written_too(tmp_path):
    clip = write_clip(tmp_path / "tall.mp4", 2, size=(20, 1000))
    (one,) = explain_each_video(Explainer(classifier(), METHOD), [clip], tmp_path / "out")
    assert one.record["warnings"] == []
    assert "annotated" in one.record["files"]
