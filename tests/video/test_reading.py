"""Frames of clips: which are taken, how they stand, and what broken files give."""

import weakref
from fractions import Fraction

import pytest
from clips import cut_off, number_of, pixels, red_corner, write_clip, write_sound
from PIL import Image

import xai.video.library
from xai.core import DataError, UsageError
from xai.video import Video, parse_sampling
from xai.video.sampling import Sampling


def taken(path, **asked):
    with Video(path) as video:
        return [(frame.number, round(frame.seconds, 3)) for frame in video.frames(parse_sampling(**asked))]


def remarks(path, **asked):
    with Video(path) as video:
        assert list(video.frames(parse_sampling(**asked)))
        return video.remarks


def test_frames_come_as_they_were_written(tmp_path):
    with Video(write_clip(tmp_path / "clip.mp4")) as video:
        frames = list(video.frames(parse_sampling("1f")))
        assert [number_of(frame.image) for frame in frames] == list(range(12))
        assert frames[0].image.mode == "RGB"
        assert frames[0].image.size == (160, 120)
        assert video.remarks == []


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"every": "500ms"}, [(0, 0.0), (5, 0.5), (10, 1.0)]),
        ({"every": "1s"}, [(0, 0.0), (10, 1.0)]),
        ({"every": 0.5}, [(0, 0.0), (5, 0.5), (10, 1.0)]),
        ({"every": "5f"}, [(0, 0.0), (5, 0.5), (10, 1.0)]),
        ({"every": "0.01s"}, [(number, number / 10) for number in range(12)]),  # none is taken twice
        ({"frames": 1}, [(6, 0.6)]),  # the middle of 1.2 s
        ({"frames": 4}, [(1, 0.1), (4, 0.4), (7, 0.7), (10, 1.0)]),
        ({"frames": 12}, [(number, number / 10) for number in range(12)]),
        ({"frames": 50}, [(number, number / 10) for number in range(12)]),
    ],
)
def test_which_frames_are_taken(tmp_path, asked, expected):
    assert taken(write_clip(tmp_path / "clip.mp4"), **asked) == expected


def test_of_a_variable_frame_rate_the_times_count(tmp_path):
    times = [0, 50, 100, 1000, 1100, 3000, 3050, 3100, 3200, 4000, 4500, 5000]
    path = write_clip(tmp_path / "clip.mp4", times=times)
    # at 2 s the frame of 1.1 s is still shown, which is taken once
    assert taken(path, every="1s") == [(0, 0.0), (3, 1.0), (4, 1.1), (5, 3.0), (9, 4.0), (11, 5.0)]
    assert [number for number, _ in taken(path, frames=3)] == [2, 4, 9]  # at 0.85 s, 2.55 s, 4.25 s


def test_a_single_frame_is_the_middle_of_its_video(tmp_path):
    for name in ("clip.mp4", "clip.mkv"):
        assert taken(write_clip(tmp_path / name, 1)) == [(0, 0.0)]


def test_a_clock_that_is_broken_takes_no_time(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", 3, times=[0, 1000, 100_000_000])
    assert taken(path, every="1ms") == [(0, 0.0), (1, 1.0), (2, 100_000.0)]


@pytest.mark.parametrize("name", ["clip.mkv", "clip.avi", "clip.webm"])
def test_containers_without_a_length_of_the_stream(tmp_path, name):
    codec = "libvpx" if name.endswith("webm") else "mpeg4"
    path = write_clip(tmp_path / name, codec=codec)
    assert [number for number, _ in taken(path, frames=4)] == [1, 4, 7, 10]
    assert remarks(path, every="1f") == []


@pytest.mark.parametrize(
    ("turned", "corner", "size"),
    [
        (None, "left top", (160, 120)),
        ((90, False), "left bottom", (120, 160)),  # counter-clockwise
        ((180, False), "right bottom", (160, 120)),
        ((270, False), "right top", (120, 160)),
        ((0, True), "right top", (160, 120)),
        ((90, True), "right bottom", (120, 160)),
    ],
)
def test_metadata_turn_and_mirror_frames(tmp_path, turned, corner, size):
    with Video(write_clip(tmp_path / "clip.mp4", 2, turned=turned)) as video:
        image = next(video.frames(parse_sampling("1f"))).image
    assert (red_corner(image), image.size) == (corner, size)


@pytest.mark.parametrize(("aspect", "size"), [(Fraction(4, 3), (213, 120)), (Fraction(1, 2), (160, 240))])
def test_pixels_become_square_and_none_is_lost(tmp_path, aspect, size):
    with Video(write_clip(tmp_path / "clip.mkv", 2, aspect=aspect)) as video:
        assert next(video.frames(parse_sampling("1f"))).image.size == size


def test_of_a_file_that_breaks_off_what_is_there_is_used_and_said(tmp_path):
    whole = write_clip(tmp_path / "clip.mp4", 40, rate=10, container={"movflags": "faststart"})
    cut = cut_off(whole, 0.5)
    with Video(cut) as video:
        frames = list(video.frames(parse_sampling(frames=4)))
        assert len(frames) == 4
        assert frames[-1].seconds < 3
        (said,) = video.remarks
    assert "announces 4.0 s" in said
    assert "cut off" in said
    assert "cut off" in remarks(cut, every="5f")[0]


def test_a_file_without_its_index_is_one_clear_error(tmp_path):
    cut = cut_off(write_clip(tmp_path / "clip.mp4"), 0.6)  # its index stands at the end
    with pytest.raises(
        DataError, match=r"cut_clip\.mp4: not a video that can be read .*\n.*before its index"
    ):
        Video(cut)


def test_a_video_without_frames_is_an_error(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", 0)
    with pytest.raises(DataError, match=r"clip\.mp4"), Video(path) as video:
        list(video.frames(parse_sampling("1f")))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"this is no video at all\n" * 50, "not a video that can be read"),
        (b"ffconcat version 1.0\nfile clip.mp4\n", "not a video that can be read"),  # would open another file
        (b"#EXTM3U\n#EXTINF:1,\nclip.mp4\n#EXT-X-ENDLIST\n", "not a video that can be read"),
    ],
)
def test_what_is_no_video_is_refused(tmp_path, content, words):
    write_clip(tmp_path / "clip.mp4", 2)
    path = tmp_path / "odd.mp4"
    path.write_bytes(content)
    with pytest.raises(DataError, match=words):
        Video(path)


def test_sound_alone_and_missing_files_are_refused(tmp_path):
    with pytest.raises(DataError, match="sound but no pictures"):
        Video(write_sound(tmp_path / "song.m4a"))
    with pytest.raises(DataError, match="no such file"):
        Video(tmp_path / "none.mp4")


def test_huge_frames_are_refused_before_they_are_decoded(tmp_path, monkeypatch):
    path = write_clip(tmp_path / "clip.mp4", 2)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 160 * 120 // 2 - 1)
    with pytest.raises(DataError, match=r"frames of 160×120 pixels"):
        Video(path)


def test_a_broken_piece_is_left_out_and_counted(tmp_path):
    path = write_clip(tmp_path / "clip.avi", 12, codec="mjpeg", group=1)
    content = bytearray(path.read_bytes())
    places = [at for at in range(len(content) - 1) if content[at : at + 3] == b"\xff\xd8\xff"]
    content[places[5] : places[5] + 700] = bytes(700)
    path.write_bytes(content)
    with Video(path) as video:
        frames = list(video.frames(parse_sampling("1f")))
        assert 10 <= len(frames) < 12
        assert video.broken >= 1
        assert any("broken" in said for said in video.remarks)


def test_no_frame_is_kept(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", 16)
    seen, most = [], 0
    with Video(path) as video:
        for frame in video.frames(parse_sampling("1f")):
            seen.append(weakref.ref(frame.image))
            most = max(most, sum(one() is not None for one in seen))
    assert most <= 2


@pytest.mark.parametrize("text", ["", "0s", "often", "1.5f", "-1s", "1h"])
def test_how_often_that_makes_no_sense(text):
    with pytest.raises(UsageError, match=r"10f for every tenth frame"):
        parse_sampling(text)


def test_ways_of_saying_which_frames():
    assert parse_sampling() == Sampling(number=32)
    assert parse_sampling("2min") == Sampling(seconds=Fraction(120))
    assert parse_sampling(".5") == parse_sampling("500ms") == Sampling(seconds=Fraction(1, 2))
    with pytest.raises(UsageError, match="both"):
        parse_sampling("1s", 4)


def test_without_the_extra_one_message_says_how_to_get_it(tmp_path, monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    path = write_clip(tmp_path / "clip.mp4", 2)
    monkeypatch.setattr(xai.video.library, "import_module", missing)
    with pytest.raises(UsageError, match=r"pip install 'vit-xai\[video\]'"):
        Video(path)


def test_the_clips_say_which_frame_is_which():
    assert [number_of(Image.fromarray(pixels(number))) for number in range(12)] == list(range(12))
