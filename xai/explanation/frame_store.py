"""What is shown of each frame, kept on disk until the video is at its end."""

from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryFile

from PIL import Image as Pillow
from PIL import ImageDraw

from xai.core import Explanation
from xai.core.explanation import Origin
from xai.core.files import disk_errors
from xai.data.affine import corners
from xai.explanation.files import writing
from xai.report.explanations import LONGEST, image_of
from xai.report.image_payload import Image
from xai.report.video_words import frame_name

OUTLINE = (255, 255, 255)
LENGTH = 8  # bytes that say how long what follows is


@dataclass(frozen=True, eq=False)
class KeptFrame:
    """A frame as it is shown.

    Args:
        entry: What a page holds of it.
        whole: All of a frame whose face was cut out, small, the crop outlined; None of other frames.
    """

    entry: Image
    whole: Pillow.Image | None


class FrameStore:
    """What is shown of each frame, appended to one file.

    Args:
        out: Folder for the file, which has no name there and is gone with the process.
    """

    def __init__(self, out: Path):
        with writing(out):
            self._file = TemporaryFile(dir=out)  # noqa: SIM115 - closed by `close`
        self._out = out
        self._ends = [0]

    def close(self) -> None:
        """Give the disk back."""
        self._file.close()

    def prepare(self, explanation: Explanation) -> bytes:
        """A frame's picture as a page shows it, under the frame's time as its name."""
        origin = explanation.sample.origin
        entry = image_of(replace(explanation, layers={}))
        whole = b""
        if origin is not None and origin.seconds is not None and origin.frame is not None:
            entry = entry.model_copy(update={"name": frame_name(origin.seconds, origin.frame)})
            whole = b"" if origin.face is None else _outlined(origin, explanation.sample.image.size)
        content = entry.model_dump_json().encode()
        return len(content).to_bytes(LENGTH, "big") + content + whole

    def keep(self, content: bytes) -> None:
        """Append a frame."""
        with disk_errors(self._out):
            self._file.write(content)
        self._ends.append(self._ends[-1] + len(content))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, place: int) -> KeptFrame:
        start, end = self._ends[place], self._ends[place + 1]
        with disk_errors(self._out):
            self._file.seek(start)
            content = self._file.read(end - start)
        split = LENGTH + int.from_bytes(content[:LENGTH], "big")
        whole = Pillow.open(BytesIO(content[split:])).convert("RGB") if content[split:] else None
        return KeptFrame(Image.model_validate_json(content[LENGTH:split]), whole)


def _outlined(origin: Origin, size: tuple[int, int]) -> bytes:
    """The frame, small, with the outline of the crop (width, height) that was cut from it; as WebP."""
    image = origin.image
    factor = min(1.0, LONGEST / max(image.size))
    small = image.resize(
        (max(1, round(image.width * factor)), max(1, round(image.height * factor))),
        Pillow.Resampling.BICUBIC,
        reducing_gap=3.0,
    )
    places = [((x + 0.5) * factor, (y + 0.5) * factor) for x, y in corners(origin.to_crop, size).tolist()]
    pen = ImageDraw.Draw(small)
    pen.line([*places, places[0]], (0, 0, 0), 4)
    pen.line([*places, places[0]], OUTLINE, 2)
    file = BytesIO()
    small.save(file, "webp", quality=80)
    return file.getvalue()
