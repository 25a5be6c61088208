"""A workbench over a tiny detector, and what it tells; images as a browser sends them."""

import struct
import time
import zlib
from collections.abc import Callable
from io import BytesIO
from typing import Any

from PIL import Image
from tiny_detector import classifier, photo

from xai.serve.model import ServeSettings
from xai.serve.uploads import Limits
from xai.serve.workbench import Workbench

PATIENCE = 60  # seconds
ENDED = ("done", "stopped", "failed")


class Heard(list[dict[str, Any]]):
    """Events, in order; called with each."""

    follower: "Heard | None" = None  # is told, too

    def __call__(self, event: dict[str, Any]) -> None:
        self.append(event)
        if self.follower is not None:
            self.follower(event)

    def until(self, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first event of which something holds; waits for it."""
        deadline = time.monotonic() + PATIENCE
        while True:
            found = next((one for one in list(self) if holds(one)), None)
            if found is not None:
                return found
            assert time.monotonic() < deadline, [(one["kind"], one.get("state")) for one in self]
            time.sleep(0.005)

    def end_of(self, job: str) -> dict[str, Any]:
        """The last event of a job."""
        return self.until(lambda one: one["kind"] == "job" and one["id"] == job and one["state"] in ENDED)

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [one for one in self if one["kind"] == kind]


def tiny_bench(heard: Heard, limits: Limits | None = None, **settings: Any) -> Workbench:
    """With two tiny models, "tiny" and "three"; the first is loaded."""
    models = {"tiny": classifier, "three": lambda: classifier(labels=("a", "b", "c"))}
    bench = Workbench(models, ServeSettings(**settings), limits or Limits(), heard)
    heard.until(lambda one: one["kind"] == "model" and one["state"] == "ready")
    return bench


def added(bench: Workbench, heard: Heard, seed: int = 0) -> str:
    """The id of an image that the model has looked at."""
    image = bench.add(png(photo(seed)), f"photo-{seed}.png")
    heard.until(lambda one: one["kind"] == "image" and one["id"] == image)
    return image


def png(image: Image.Image) -> bytes:
    file = BytesIO()
    image.save(file, "png")
    return file.getvalue()


def huge_png(side: int = 60_000) -> bytes:
    """A small file whose header says that it has side × side pixels."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(3 * 64))), (b"IEND", b"")]
    made = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(made)


HOSTILE = {
    "truncated.png": lambda: png(photo(0, (64, 64)))[:3000],
    "huge.png": huge_png,
    "text.png": lambda: b"This is no image, whatever its name says.\n",
    "page.jpg": lambda: b"<!doctype html><script>alert(1)</script>",
    "empty.png": lambda: b"",
}
"""Files that are no images, or bad ones, by the names that they come under."""
