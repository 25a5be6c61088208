"""Small clips written for tests: each frame's brightness says which it is."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

SIZE = (160, 120)


def pixels(number: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Grey, brighter from frame to frame up to 17; the upper left quarter red, so that turns show."""
    width, height = size
    picture = np.full((height, width, 3), 30 + 12 * (number % 18), np.uint8)
    picture[: height // 2, : width // 2] = (220, 20, 20)
    return picture


def number_of(image: Image.Image) -> int:
    """Which frame it is, by the brightness of its middle right edge or any grey corner."""
    corners = np.asarray(image.convert("RGB")).astype(int)[[2, 2, -3, -3], [2, -3, 2, -3]]
    grey = [corner for corner in corners if np.ptp(corner) < 25]
    return round((np.median([corner.mean() for corner in grey]) - 30) / 12)


def red_corner(image: Image.Image) -> str:
    """Where the red quarter lies: "left top", "right top" …"""
    picture = np.asarray(image.convert("RGB")).astype(int)
    redness = picture[..., 0] - picture[..., 2]
    rows, cols = np.nonzero(redness > 100)
    across = "left" if cols.mean() < picture.shape[1] / 2 else "right"
    return f"{across} {'top' if rows.mean() < picture.shape[0] / 2 else 'bottom'}"


def write_clip(
    path: Path,
    frames: int = 12,
    *,
    size: tuple[int, int] = SIZE,
    codec: str = "mpeg4",
    rate: int = 10,
    times: Sequence[int] | None = None,
    turned: tuple[int, bool] | None = None,
    aspect: Fraction | None = None,
    group: int = 4,
    container: dict[str, str] | None = None,
) -> Path:
    """Write a clip.

    Args:
        path: Its ending says the container.
        frames: How many.
        size: (width, height).
        codec: The encoder.
        rate: Frames per second.
        times: Milliseconds at which the frames are shown; None: one after the other at `rate`.
        turned: Degrees counter-clockwise, and whether mirrored after that, as metadata.
        aspect: Of a pixel.
        group: Frames from one keyframe to the next.
        container: Options of the container.
    """
    with av.open(str(path), "w", options=container or {}) as file:
        stream: Any = file.add_stream(codec, rate=rate)
        stream.width, stream.height = size
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.gop_size = group
        stream.bit_rate = 2_000_000
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        if turned is not None:
            stream.set_display_rotation(turned[0], hflip=turned[1])
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(pixels(number, size), format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = times[number], Fraction(1, 1000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


def write_sound(path: Path) -> Path:
    """Half a second of silence, without pictures."""
    with av.open(str(path), "w") as file:
        stream: Any = file.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


def cut_off(path: Path, share: float) -> Path:
    """The beginning of a file."""
    content = path.read_bytes()
    cut = path.with_name(f"cut_{path.name}")
    cut.write_bytes(content[: int(share * len(content))])
    return cut
