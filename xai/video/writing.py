"""Pictures with their times as an MP4 file that browsers play."""

from collections.abc import Iterable
from fractions import Fraction
from functools import cache
from typing import IO, Any

import numpy as np

from xai.core import DataError
from xai.video.library import require_av

TICKS = 1000  # of the clock in a second: what is shown when is told to the millisecond
ENCODERS = {"libx264": {"preset": "veryfast", "crf": "23"}, "libopenh264": {}, "mpeg4": {"qscale": "4"}}
"""Tried in this order: H.264 plays everywhere, MPEG-4 in players but in no browser."""
KEYFRAMES = 12  # pictures from one that stands for itself to the next: players jump to those


@cache
def encoder_name() -> str:
    """The encoder that this build of PyAV has.

    Raises:
        DataError: It has none of them.
    """
    av = require_av()
    for name in ENCODERS:
        try:
            av.Codec(name, "w")
        except (av.error.FFmpegError, ValueError):
            continue
        return name
    raise DataError(f"This build of PyAV can write no video; looked for {', '.join(ENCODERS)}.")


def write_mp4(file: IO[bytes], pictures: Iterable[tuple[float, np.ndarray]], end: float) -> None:
    """Write pictures, each shown until the next one.

    Args:
        file: Open for writing, and for going back in it.
        pictures: (seconds, (height, width, 3) uint8 RGB), all of one size, which is cut to even numbers;
            times grow.
        end: When the last one ends, in seconds.

    Raises:
        DataError: There is no encoder.
        OSError: The disk objects.
    """
    av = require_av()
    name = encoder_name()
    with av.open(file, "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream: Any = None
        tick, last = -1, None
        for seconds, pixels in pictures:
            if stream is None:
                stream = container.add_stream(name, rate=Fraction(25), options=ENCODERS[name])
                stream.height, stream.width = (side // 2 * 2 for side in pixels.shape[:2])
                stream.pix_fmt = "yuv420p"
                stream.gop_size = KEYFRAMES
                stream.codec_context.time_base = Fraction(1, TICKS)
            last = np.ascontiguousarray(pixels[: stream.height, : stream.width])
            tick = max(tick + 1, round(seconds * TICKS))
            _encode(av, container, stream, last, tick)
        if last is not None and round(end * TICKS) - 1 > tick:  # so that the last picture lasts
            _encode(av, container, stream, last, round(end * TICKS) - 1)
        if stream is not None:
            container.mux(stream.encode(None))


def _encode(av: Any, container: Any, stream: Any, pixels: np.ndarray, tick: int) -> None:
    frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
    frame.pts, frame.time_base = tick, Fraction(1, TICKS)
    container.mux(stream.encode(frame))
