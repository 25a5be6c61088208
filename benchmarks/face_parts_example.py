"""The picture of docs/face-parts.md: a shipped photograph's face whose mouth is forged, and its parts.

python benchmarks/face_parts_example.py     # needs xai models fetch faces
"""

import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

import xai

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.pictures import to_webp
from xai.core import Sample
from xai.data import read_image
from xai.data.face_parts import PARTS, part_masks
from xai.data.forgery import forge
from xai.explanation import Explainer, Failure, explain_each
from xai.faces import crop, find
from xai.models import load

PHOTO = Path(xai.__file__).parent / "data/photos/astronaut.jpg"
OUT = Path("docs/images/face_parts.webp")
KIND, SEED = "upsampling", 0
WIDTH = 1120


def main() -> None:
    photo = read_image(PHOTO)
    face = crop(Sample("astronaut", photo), find([photo])[0][0], size=224)
    if face.landmarks is None:
        raise SystemExit("The crop has no landmarks.")
    mouth = part_masks(face.landmarks, face.image.size)[PARTS.index("mouth")]
    forged = forge(np.asarray(face.image), np.random.default_rng(SEED), KIND, mouth.astype(np.float32))
    sample = replace(face, image=Image.fromarray(forged.image), mask=forged.mask, label="fake", origin=None)
    with TemporaryDirectory() as folder:
        for result in explain_each(Explainer(load("demo")), [sample], Path(folder)):
            if isinstance(result, Failure):
                raise result.error
            drawn = Image.open(Path(folder) / result.record["files"]["face_parts"]).convert("RGB")
            height = round(drawn.height * WIDTH / drawn.width)
            smaller = Path(folder) / "smaller.png"
            drawn.resize((WIDTH, height), Image.Resampling.LANCZOS).save(smaller)
            to_webp(smaller, OUT)


if __name__ == "__main__":
    main()
