"""`xai explain VIDEO` and `xai demo --video`: what is printed, written and returned."""

import json

from clips import cut_off, write_clip
from tiny_detector import classifier, photo

import xai.models
import xai.video.library


def test_a_video_and_an_image_in_one_run(tmp_path, xai_command, detector):
    write_clip(tmp_path / "clip.mp4")
    photo().save(tmp_path / "photo.png")
    run = xai_command("explain", "clip.mp4", "photo.png", "--config", detector, "--frames", 3, "--json")
    assert run.code == 0
    image, video = json.loads(run.stdout)["explanations"]
    assert (image["schema"], video["schema"]) == ("xai.explanation/1", "xai.video/1")
    assert video["sampling"] == {"frames": 3}
    assert video["files"]["annotated"] == "clip/clip_annotated.mp4"
    assert all((tmp_path / "attention_results" / name).is_file() for name in video["files"].values())
    assert "a page of its own" not in run.stderr
    assert "2 of 2 images and videos explained" in run.stderr


def test_a_folder_of_clips_is_explained_clip_by_clip(tmp_path, xai_command, detector):
    (tmp_path / "clips").mkdir()
    for name in ("a.mp4", "b.mkv", "c.mp4"):
        write_clip(tmp_path / "clips" / name, 6)
    cut_off(tmp_path / "clips" / "c.mp4", 0.5)
    (tmp_path / "clips" / "c.mp4").unlink()
    run = xai_command("explain", "clips", "--config", detector, "--every", "300ms", "--pictures", "none")
    assert run.code == 4
    assert [line.split()[0].rpartition("/")[2] for line in run.stdout.splitlines()[1:]] == ["a.mp4", "b.mkv"]
    assert "Failed: clips/cut_c.mp4: not a video that can be read" in run.stderr
    assert "2 of 3 videos explained, 1 failed" in run.stderr


def test_a_page_of_images_says_where_those_of_videos_are(tmp_path, xai_command, detector):
    write_clip(tmp_path / "clip.mp4", 2)
    run = xai_command("explain", "clip.mp4", "--config", detector, "--report", "--method", "center_prior")
    assert run.code == 0 and not (tmp_path / "attention_results/index.html").exists()
    assert "Each video has a page of its own, index.html in its folder" in run.stderr
    assert (tmp_path / "attention_results/clip/index.html").is_file()


def test_an_image_with_a_videos_name_is_an_image(tmp_path, xai_command, detector):
    photo().save(tmp_path / "frame.png")
    (tmp_path / "frame.png").rename(tmp_path / "frame.mp4")
    write_clip(tmp_path / "clip.mp4", 2).rename(tmp_path / "clip.png")
    run = xai_command(
        "explain", "frame.mp4", "clip.png", "--config", detector, "--pictures", "none", "--json"
    )
    assert run.code == 0
    image, video = json.loads(run.stdout)["explanations"]
    assert image["image"]["path"].endswith("frame.mp4")
    assert video["video"]["path"].endswith("clip.png")


def test_wrong_options_and_a_missing_extra(tmp_path, xai_command, detector, monkeypatch):
    write_clip(tmp_path / "clip.mp4", 2)
    run = xai_command("explain", "clip.mp4", "--every", "1s", "--frames", 3)
    assert (run.code, run.stderr.splitlines()[0]) == (2, "Error: --every and --frames both say which frames.")
    assert xai_command("explain", "clip.mp4", "--every", "often").code == 2
    assert xai_command("explain", "clip.mp4", "--layers-panel").code == 2

    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(xai.video.library, "import_module", missing)
    run = xai_command("explain", "clip.mp4", "--config", detector)
    assert run.code == 2
    assert "pip install 'vit-xai[video]'" in run.stderr


def test_a_benchmark_refuses_a_video(tmp_path, xai_command, detector):
    write_clip(tmp_path / "clip.mp4", 2)
    (tmp_path / "run.yaml").write_text(
        f"name: tiny\nmodel: {{config: {detector}}}\ndata: {{images: [clip.mp4]}}\n"
        "methods: [attention_rollout]\nprotocols: [{base: vit-mean, name: mean, steps: 4}]\nmetrics: [gini]\n"
    )
    run = xai_command("benchmark", "run", "run.yaml")
    assert run.code == 3
    assert "clip.mp4: not an image in a known format but a video (MP4 or QuickTime)" in run.stderr


def test_the_demo(tmp_path, xai_command, monkeypatch):
    """The clip is real, the detector is not: training and pictures are tested elsewhere."""
    monkeypatch.setattr(xai.models, "load", lambda name: classifier())
    run = xai_command("demo", "--video", "--out", "out")
    assert run.code == 0
    folder = tmp_path / "out" / "clip"
    assert {path.suffix for path in folder.iterdir()} == {
        ".json",
        ".csv",
        ".safetensors",
        ".png",
        ".mp4",
        ".html",
    }
    assert (tmp_path / "out" / "clip.mp4").is_file()
    record = json.loads((folder / "clip_explanation.json").read_text("utf-8"))
    assert record["frames"]["explained"] == 24
    assert len(run.stdout.splitlines()) == 3
