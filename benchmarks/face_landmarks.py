"""The 68 landmarks of every face of a folder, by dlib's model, as a file for `benchmarks/face_parts.py`.

    python -m venv dlib-env
    dlib-env/bin/pip install --no-deps dlib-bin==20.0.1 face_recognition_models==0.1.3 numpy pillow
    dlib-env/bin/python benchmarks/face_landmarks.py FOLDER landmarks.npz

In an environment of its own: the model was trained on iBUG 300-W, whose licence excludes commercial use, so
neither it nor what is made of it is shipped. Faces are found by dlib's HOG detector; of several the largest
counts. Writes an .npz: file name → (68, 2) float64.
"""

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

MODEL = "models/shape_predictor_68_face_landmarks.dat"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    import dlib  # pyrefly: ignore[missing-import] - in an environment of its own

    spec = find_spec("face_recognition_models")
    if spec is None or spec.origin is None:
        sys.exit("face_recognition_models is not installed.")
    detector = dlib.get_frontal_face_detector()
    predictor = dlib.shape_predictor(str(Path(spec.origin).parent / MODEL))
    found = {}
    for path in sorted(given.folder.glob("*.jpg")):
        pixels = np.asarray(Image.open(path).convert("RGB"))
        faces = detector(pixels, 1)
        if faces:
            face = max(faces, key=lambda one: one.area())
            found[path.name] = np.array([(p.x, p.y) for p in predictor(pixels, face).parts()], float)
    np.savez(given.out, **found)
    sys.stderr.write(f"{len(found)} faces\n")


if __name__ == "__main__":
    main()
