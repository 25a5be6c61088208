"""What explaining a video spends its time on: decoding, faces, the model, drawing, writing.

    xai models fetch faces
    python benchmarks/video_profile.py   # ten minutes on one core, to reports/speed/video.md

A clip of 1280 × 720 pixels and 25 frames per second, H.264, is made of a shipped photograph over which the
camera pans, for faces of the astronaut; the model is a ViT-B/16 of transformers with random weights, since
its answers do not matter here. CPU seconds of threads: what a thread computes while another one waits for
the processor does not count.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import turns
from PIL import Image

SIZE, RATE = (1280, 720), 25
TARGET = 30.0  # percent
DECODING, FACES, MODEL, DRAWING, WRITING = "decoding", "faces", "model", "drawing", "writing"
PARTS = (DECODING, FACES, MODEL, DRAWING, WRITING)
CASES = {
    "4 s, every second, one_pass": (4, {"every": "1s"}, {"method": "one_pass"}),
    "4 s, every second": (4, {"every": "1s"}, {}),
    "4 s, every second, no pictures": (4, {"every": "1s"}, {"pictures": "none"}),
    "4 s, every second, a face": (4, {"every": "1s"}, {"face": "largest"}),
    "4 s, every second, a face, one_pass": (4, {"every": "1s"}, {"face": "largest", "method": "one_pass"}),
}


class Clock:
    """CPU seconds of parts, each counted in the thread that does it."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = dict.fromkeys(PARTS, 0.0)

    def timed(self, owner: Any, name: str, part: str) -> None:
        """Count the calls of a function."""
        function: Callable = getattr(owner, name)

        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            begin = time.thread_time()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds[part] += time.thread_time() - begin

        setattr(owner, name, call)

    def stepped(self, owner: Any, name: str, part: str) -> None:
        """Count the steps of a generator."""
        function: Callable = getattr(owner, name)

        @wraps(function)
        def steps(*args: Any, **kwargs: Any) -> Iterator[Any]:
            items = function(*args, **kwargs)
            while True:
                begin = time.thread_time()
                try:
                    item = next(items)
                except StopIteration:
                    return
                finally:
                    self.seconds[part] += time.thread_time() - begin
                yield item

        setattr(owner, name, steps)


def make_clip(path: Path, seconds: int, name: str) -> None:
    """The camera pans and comes nearer over a photograph, with a little grain."""
    from xai.data import shipped_photos
    from xai.video import write_mp4

    photo = Image.open(shipped_photos()[name]).convert("RGB")
    grain = np.random.default_rng(0).normal(0, 3, (4, SIZE[1], SIZE[0], 1))
    count = seconds * RATE

    def pictures() -> Iterator[tuple[float, np.ndarray]]:
        for place in range(count):
            share = place / count
            width = photo.width * (0.9 - 0.2 * share)
            left, top = (photo.width - width) * share, 10.0 * share
            view = (left, top, left + width, top + width * SIZE[1] / SIZE[0])
            picture = np.asarray(photo.resize(SIZE, Image.Resampling.BICUBIC, view), np.float32)
            yield place / RATE, (picture + grain[place % 4]).clip(0, 255).astype(np.uint8)

    with path.open("wb") as file:
        write_mp4(file, pictures(), count / RATE)


def vit() -> Any:
    """A detector of two classes, as large as those that people have, with random weights."""
    import torch
    from transformers import ViTConfig, ViTForImageClassification

    from xai.models import Classifier, Preprocessing

    torch.manual_seed(0)
    model = ViTForImageClassification(ViTConfig()).eval()  # two labels, as by default
    steps = Preprocessing(shortest_edge=224, crop=(224, 224))
    return Classifier(model, ("real", "fake"), name="vit-b16-random", preprocessing=steps)


def profile(case: str) -> None:
    """One case in this process; prints what it took, tab-separated."""
    import torch

    from xai import explain_video, faces
    from xai.explanation import videos
    from xai.explanation.explainer import Explainer
    from xai.explanation.video_files import FrameStore
    from xai.video import Video

    torch.set_num_threads(1)
    seconds, sampling, options = CASES[case]
    classifier, clock = vit(), Clock()
    with TemporaryDirectory() as name:
        path = Path(name, "clip.mp4")
        make_clip(path, seconds, "astronaut" if "face" in options else "china")
        clock.stepped(Video, "frames", DECODING)
        clock.timed(faces, "find", FACES)
        clock.timed(faces, "crop", FACES)
        clock.timed(Explainer, "prepare", MODEL)
        clock.timed(Explainer, "_attempt", MODEL)
        clock.timed(FrameStore, "prepare", DRAWING)
        clock.timed(videos, "write_video", WRITING)
        clock.timed(videos, "video_page", WRITING)
        whole = time.process_time()
        found = explain_video(path, classifier, out=Path(name, "out"), **sampling, **options)
        whole = time.process_time() - whole
    # what decoder and encoder compute in threads of their own belongs to them: no other part has any
    others = sum(clock.seconds.values())
    figures = [len(found.frames), whole, *clock.seconds.values(), whole - others]
    print("\t".join(map(str, figures)))


def run(case: str) -> list[str]:
    """A case in a process of its own, as a line of the table."""
    command = [sys.executable, __file__, "--case", case]
    done = subprocess.run(  # noqa: S603 - this program
        command, check=True, capture_output=True, text=True
    )
    frames, whole, *parts = map(float, done.stdout.strip().splitlines()[-1].split("\t"))
    shares = [100 * part / whole for part in parts]
    beside = 100 - shares[PARTS.index(MODEL)]
    cells = [case, f"{frames:.0f}", f"{whole:.1f}", *(f"{share:.1f}" for share in shares), f"{beside:.1f}"]
    return [*cells, "yes" if beside <= TARGET else "no"]


TEXT = [
    "`xai explain CLIP` in CPU seconds of one thread, from the open model to the last file; in percent of "
    "them what each part takes. *Decoding*: reading the file, every frame up to those asked for, and turning "
    "those into RGB. *Faces*: finding the face in each frame and cutting it "
    "out upright. *Model*: preprocessing, forward and backward passes, the maps. *Drawing*: the small "
    "picture and the maps of each frame for the page, in a thread beside the model. *Writing*: filmstrip, "
    "timeline, page, annotated video with its encoding, table, record. *Rest*: threads of the decoder and "
    "the encoder, the choice of the method.",
    f"Target: all but the model at most {TARGET:.0f} % of a run of the default method.",
]
HEADER = ["run", "frames explained", "seconds", *PARTS, "rest", "all but the model", "30 % met"]


def main() -> None:
    rows = []
    for case in CASES:
        rows.append(run(case))
        print(" | ".join(rows[-1]), flush=True)
    path = turns.publish("video", "What explaining a video spends its time on", TEXT, HEADER, rows)
    print(f"Wrote {path}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--case", choices=CASES, help="one of them, in this process")
    options = parser.parse_args()
    sys.exit(profile(options.case) if options.case else main())
