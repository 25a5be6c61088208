"""Pictures as MP4: their times, sizes and what stands in them, read back."""

import av
import numpy as np
import pytest
from clips import number_of, pixels

from xai.video import encoder_name, write_mp4
from xai.video.writing import ENCODERS


def read(path):
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        length = float(stream.duration * stream.time_base)
        context = stream.codec_context
        return (
            [(float(frame.time), frame.to_image()) for frame in file.decode(stream)],
            length,
            context.pix_fmt,
        )


def test_each_picture_is_shown_from_its_time_to_the_next(tmp_path):
    times = [0.0, 0.05, 1.5, 1.5, 4.0]  # two at one time: the later one follows at once
    with (tmp_path / "out.mp4").open("wb") as file:
        write_mp4(file, ((time, pixels(i)) for i, time in enumerate(times)), end=5.0)
    frames, length, layout = read(tmp_path / "out.mp4")
    assert [time for time, _ in frames] == pytest.approx([0, 0.05, 1.5, 1.501, 4.0], abs=1e-3)
    assert [number_of(image) for _, image in frames] == [0, 1, 2, 3, 4]
    assert length == pytest.approx(5.0, abs=0.01)
    assert layout == "yuv420p"


def test_sides_are_even_and_all_encoders_are_known(tmp_path):
    with (tmp_path / "out.mp4").open("wb") as file:
        write_mp4(file, [(0.0, pixels(0, (101, 75)))], end=1.0)
    ((_, image),), length, _ = read(tmp_path / "out.mp4")
    assert image.size == (100, 74)
    assert length == pytest.approx(1.0, abs=0.01)
    assert encoder_name() in ENCODERS


def test_a_fine_video_keeps_what_nobody_sees(tmp_path):
    noise = np.random.default_rng(0).integers(100, 130, (64, 64, 1), np.uint8).repeat(3, axis=2)
    errors = {}
    for fine in (False, True):
        with (tmp_path / "out.mp4").open("wb") as file:
            write_mp4(file, [(0.0, noise)], end=1.0, fine=fine)
        ((_, image),), *_ = read(tmp_path / "out.mp4")
        errors[fine] = np.abs(np.asarray(image).astype(int) - noise).mean()
    assert errors[True] < 2 < errors[False]
