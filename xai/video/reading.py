"""Frames of a video, upright and with square pixels, one after the other; nothing else of it is kept.

Times are those at which frames are shown, from the first one on. What the file says of itself is believed
only where nothing depends on it: a file that breaks off gives the frames that are there, and says so.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from struct import unpack
from typing import Any

from PIL import Image

from xai.core import DataError
from xai.core.files import check_file, short_path
from xai.core.language import gettext, ngettext
from xai.video.library import require_av
from xai.video.sampling import Sampling

# containers of one file: a playlist or a script of cuts (concat, hls, dash) would have others opened, also
# over the network, whatever its name ends with
FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,mpegvideo,flv,asf,ogg,h264,hevc,m4v,ivf,obu,av1,"
    "mxf,nut,rm,dv,gif,apng"
)
USUAL_RATE = Fraction(25)  # frames per second where a file does not say it
NO_VIDEO = "Save it as MP4 (H.264), for example: ffmpeg -i FILE -pix_fmt yuv420p clip.mp4"


@dataclass(frozen=True, eq=False)
class Frame:
    """A frame that was asked for.

    Args:
        number: Which of the video's frames, from 0.
        seconds: When it is shown, from the first frame on.
        image: RGB, turned as the file says, with square pixels.
    """

    number: int
    seconds: float
    image: Image.Image


class Video:
    """A video file, to be used in a `with` block and read once.

    Args:
        path: The file.

    Attributes:
        announced: Seconds of video that the file announces; 0 where it does not.
        rate: Frames per second on average, as announced.
        decoded: Frames decoded so far.
        seconds: Where the last of them ends.
        broken: Packets or frames that could not be decoded.

    Raises:
        DataError: No such file, no video, no picture in it, or frames larger than an image may be.
        UsageError: The extra `video` is not installed.
    """

    def __init__(self, path: Path):
        self.path = path
        self.name = short_path(path)
        self._av: Any = require_av()
        check_file(path)
        if path.stat().st_size == 0:
            raise DataError(f"{self.name}: the file is empty.")
        self._file = path.open("rb")
        try:
            self._container = self._opened()
            self._stream = self._picture_stream()
            self.rate = Fraction(self._stream.average_rate or self._stream.guessed_rate or USUAL_RATE)
            self.announced, self._slack = self._announced()
        except BaseException:
            self._file.close()
            raise
        self.decoded = self.broken = 0
        self.seconds = Fraction(0)
        self._end: Fraction | None = None  # once it is known
        self._fault = ""

    def __enter__(self) -> "Video":
        return self

    def __exit__(self, *error: object) -> None:
        self._container.close()
        self._file.close()

    def frames(self, sampling: Sampling) -> Iterator[Frame]:
        """The frames asked for, in order, each converted only when it is its turn.

        Raises:
            DataError: Nothing could be decoded, or a frame is larger than an image may be.
        """
        if sampling.number is not None:
            self._end = self._measured()
        taken = 0
        for number, seconds, frame in self._chosen(sampling):
            try:
                image = self._converted(frame)
            except (self._av.error.FFmpegError, MemoryError) as error:  # an odd layout of pixels
                self.broken += 1
                self._fault = self._fault or _reason(error)
                continue
            taken += 1
            yield Frame(number, float(seconds), image)
        if not taken:
            raise DataError(
                f"{self.name}: no frame could be decoded{f' ({self._fault})' if self._fault else ''}.",
                "The file is empty, cut off or broken. " + NO_VIDEO,
            )

    @property
    def length(self) -> Fraction:
        """Seconds to the end of the last frame: of all of them where that is known, else of those decoded."""
        return max(self._end or Fraction(0), self.seconds)

    @property
    def remarks(self) -> list[str]:
        """What a reader of the results must know: that the file breaks off, that frames are broken."""
        said = []
        if self._end is not None and self.announced - self._end > self._slack:
            said.append(
                gettext(
                    "The file announces {announced} s of video, but its frames end after {found} s: it may "
                    "be cut off. What could be decoded was used.",
                    announced=f"{float(self.announced):.1f}",
                    found=f"{float(self._end):.1f}",
                )
            )
        elif self._fault:
            said.append(
                gettext(
                    "Reading stopped after {found} s ({reason}). What could be decoded was used.",
                    found=f"{float(self.seconds):.1f}",
                    reason=self._fault,
                )
            )
        if self.broken:
            said.append(
                ngettext(
                    "{n} piece of the video is broken and was left out.",
                    "{n} pieces of the video are broken and were left out.",
                    self.broken,
                )
            )
        return said

    def describe(self) -> dict[str, Any]:
        """What the file says of itself, JSON-ready."""
        codec = self._stream.codec_context
        return {
            "format": self._container.format.name,
            "codec": codec.name,
            "width": codec.width,
            "height": codec.height,
            "frames_per_second": float(self.rate),
            "seconds": float(self.announced) or None,
        }

    def _opened(self) -> Any:
        """The container, with nothing allowed that would open another file."""
        options = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
        try:
            return self._av.open(self._file, container_options=options, metadata_errors="replace")
        except (self._av.error.FFmpegError, OSError, ValueError) as error:
            raise DataError(
                f"{self.name}: not a video that can be read ({_reason(error)}).",
                f"It is none, or in a format that is not read, or cut off before its index. {NO_VIDEO}",
            ) from None

    def _picture_stream(self) -> Any:
        """The first stream of moving pictures; the cover of a piece of music is none."""
        cover = self._av.stream.Disposition.attached_pic
        streams = [one for one in self._container.streams.video if not one.disposition & cover]
        if not streams:
            sound = bool(self._container.streams.audio)
            self._container.close()
            raise DataError(
                f"{self.name}: {'holds sound but no pictures' if sound else 'no video in it'}.", NO_VIDEO
            )
        stream = streams[0]
        if stream.codec_context is None:
            raise DataError(f"{self.name}: its codec is not known to this build of PyAV.", NO_VIDEO)
        self._check_size(stream.codec_context.width, stream.codec_context.height)
        stream.thread_type = "AUTO"
        return stream

    def _announced(self) -> tuple[Fraction, Fraction]:
        """The length that the file announces, 0 where it does not; how much of it may be missing unsaid."""
        stream, whole = self._stream, self._container.duration
        if stream.duration:
            seconds = stream.duration * stream.time_base
            return seconds, max(3 / self.rate, seconds / 50)
        seconds = Fraction(whole or 0, self._av.time_base)  # of the sound, too, which may be longer
        return seconds, max(Fraction(1), seconds / 10)

    def _measured(self) -> Fraction:
        """The length by the times of all packets, none of which is decoded; the file is begun anew then."""
        start = end = None
        packets = 0
        with suppress(self._av.error.FFmpegError, OSError):
            for packet in self._container.demux(self._stream):
                packets += packet.size > 0
                if packet.pts is not None and packet.size:
                    start = packet.pts if start is None else min(start, packet.pts)
                    last = packet.pts + (packet.duration or 0)
                    end = last if end is None else max(end, last)
        self._container.close()
        self._file.seek(0)
        self._container = self._opened()
        self._stream = self._picture_stream()
        if start is None or end is None or start == end:
            return packets / self.rate
        return (end - start) * self._stream.time_base

    def _chosen(self, sampling: Sampling) -> Iterator[tuple[int, Fraction, Any]]:
        """(number, seconds, frame) of the frames asked for: the one that is shown at each wanted time."""
        if sampling.step is not None:
            for number, (seconds, frame) in enumerate(self._timed()):
                if number % sampling.step == 0:
                    yield number, seconds, frame
            self._end = self.seconds
            return
        length = self._end or Fraction(0)
        wanted, shown = sampling.wanted(Fraction(0), length), None
        for number, (seconds, frame) in enumerate(self._timed()):
            if shown is not None and wanted is not None and seconds > wanted:
                yield shown
                wanted = sampling.wanted(seconds, length)
            if wanted is None:
                return
            shown = number, seconds, frame
        self._end = self.seconds
        if shown is not None and wanted is not None and wanted < self.seconds:
            yield shown

    def _timed(self) -> Iterator[tuple[Fraction, Any]]:
        """Frames with the times at which they are shown, from 0 on and always later than the one before."""
        step, start, last = 1 / self.rate, None, None
        for frame in self._decoded():
            soonest = Fraction(0) if last is None else last + step
            time = None if frame.pts is None else Fraction(frame.pts) * frame.time_base
            if time is None:
                seconds = soonest
            else:
                # a clock that was set back, as where recordings were joined, goes on from here
                if start is None or (last is not None and time - start <= last):
                    start = time - soonest
                seconds = time - start
            last = seconds
            self.decoded += 1
            self.seconds = seconds + (Fraction(frame.duration) * frame.time_base if frame.duration else step)
            yield seconds, frame

    def _decoded(self) -> Iterator[Any]:
        errors = self._av.error
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
            except (errors.FFmpegError, OSError) as error:
                self._fault = _reason(error)
                return
            if packet is None:
                return
            try:
                frames = packet.decode()
            except (errors.FFmpegError, OSError) as error:
                self.broken += 1
                self._fault = self._fault or ("" if self.decoded else _reason(error))
                continue
            for frame in frames:
                if frame.is_corrupt:
                    self.broken += 1
                else:
                    yield frame

    def _converted(self, frame: Any) -> Image.Image:
        """RGB with square pixels, none of them lost, turned upright."""
        ratio = self._stream.sample_aspect_ratio or Fraction(1)
        width, height = frame.width, frame.height
        if ratio > 1:
            width = round(width * ratio)
        elif 0 < ratio < 1:
            height = round(height / ratio)
        self._check_size(width, height)
        image = frame.to_image()
        if image.size != (width, height):
            image = image.resize((width, height), Image.Resampling.BICUBIC)
        for turn in self._turns(frame):
            image = turn(image)
        return image

    def _turns(self, frame: Any) -> Iterator[Callable[[Image.Image], Image.Image]]:
        """What the display matrix asks for, to the nearest quarter turn: x' = a·x + c·y, y' = b·x + d·y."""
        held = frame.side_data.get("DISPLAYMATRIX")
        if held is None:
            return
        a, b, _, c, d = unpack("=5i", bytes(held)[:20])
        across, down = a, d
        if abs(a) < abs(b):
            yield lambda image: image.transpose(Image.Transpose.TRANSPOSE)
            across, down = c, b
        if across < 0:
            yield lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if down < 0:
            yield lambda image: image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)

    def _check_size(self, width: int, height: int) -> None:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        if limit and width * height > limit:
            raise DataError(
                f"{self.name}: frames of {width}×{height} pixels exceed {limit // 1_000_000} megapixels.",
                "Save it smaller.",
            )


def _reason(error: Exception) -> str:
    """What the library says, without the name of the file."""
    return str(getattr(error, "strerror", None) or error).strip().rstrip(".")
