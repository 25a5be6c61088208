"""Pictures with their times as an MP4 file that browsers play."""

import errno
from collections.abc import Iterable
from fractions import Fraction
from functools import cache
from typing import IO, Any

import numpy as np

from xai.core import DataError
from xai.video.library import require_av

RATE = Fraction(25)  # as announced; each picture has its own time
TICKS = 1000  # of the clock in a second: what is shown when is told to the millisecond
ENCODERS = {"libx264": {"preset": "veryfast", "crf": "23"}, "libopenh264": {}, "mpeg4": {"qscale": "4"}}
"""Tried in this order: H.264 plays everywhere, MPEG-4 in players but in no browser."""
FINE = {"libx264": {"crf": "1"}, "libopenh264": {}, "mpeg4": {"qscale": "1"}}
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG, errno.EROFS)
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


def write_mp4(
    file: IO[bytes], pictures: Iterable[tuple[float, np.ndarray]], end: float, *, fine: bool = False
) -> None:
    """Write pictures, each shown until the next one.

    Args:
        file: Open for writing, and for going back in it.
        pictures: (seconds, (height, width, 3) uint8 RGB), all of one size, which is cut to even numbers;
            times grow.
        end: When the last one ends, in seconds.
        fine: Whether traces that nobody sees shall last: nearly lossless, but for the halved resolution of
            colours.

    Raises:
        DataError: There is no encoder, or it does not take these pictures.
        OSError: The disk objects.
    """
    av = require_av()
    try:
        _write(av, file, pictures, end, fine)
    except av.error.FFmpegError as error:
        if error.errno in DISK:
            raise OSError(error.errno, error.strerror) from None
        raise DataError(f"{encoder_name()} cannot write this video ({error.strerror or error}).") from None


def _write(
    av: Any, file: IO[bytes], pictures: Iterable[tuple[float, np.ndarray]], end: float, fine: bool
) -> None:
    name = encoder_name()
    with av.open(file, "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream: Any = None
        held: Any = None  # the last packet, which says how long the last picture is shown
        tick = -1
        for seconds, pixels in pictures:
            if stream is None:
                stream = container.add_stream(
                    name, rate=RATE, options=ENCODERS[name] | (FINE[name] if fine else {})
                )
                stream.height, stream.width = pixels.shape[0] // 2 * 2, pixels.shape[1] // 2 * 2
                stream.pix_fmt = "yuv420p"
                stream.gop_size = KEYFRAMES
                stream.max_b_frames = 0  # packets come in the order of the pictures
                stream.codec_context.time_base = Fraction(1, TICKS)
            frame = av.VideoFrame.from_ndarray(
                np.ascontiguousarray(pixels[: stream.height, : stream.width]), format="rgb24"
            )
            tick = max(tick + 1, round(seconds * TICKS))
            frame.pts, frame.time_base = tick, Fraction(1, TICKS)
            held = _mux(container, held, stream.encode(frame))
        if stream is not None:
            held = _mux(container, held, stream.encode(None))
        if held is not None:
            held.duration = max(1, round(end * TICKS) - tick)
            container.mux(held)


def _mux(container: Any, held: Any, packets: Iterable[Any]) -> Any:
    """Write what was held and all packets but the last, which is held now."""
    for packet in packets:
        if held is not None:
            container.mux(held)
        held = packet
    return held
