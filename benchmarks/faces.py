"""Face crops beside the published recipe, and how sure the five points are: writes reports/faces.md.

    python benchmarks/faces.py PORTRAITS landmarks.npz

PORTRAITS is a folder of images with one face each; the committed page used the 120 generated portraits of
256 × 256 pixels of the public repository faker-js/assets-person-portrait at 63aef57 (CC0). Needs scikit-image
and opencv-python-headless, which the recipe uses, and the weights (xai models fetch faces).
`landmarks.npz` holds the portraits' 68 landmarks, as `benchmarks/face_landmarks.py` writes them.
"""

import sys
import time
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from xai.core import Face, Sample
from xai.data import read_image, shipped_photos
from xai.data.affine import corners, read_through, similarity
from xai.faces import crop, find, five_points, is_crop, places
from xai.faces.align import overlap

PAGE = Path(__file__).parents[1] / "reports" / "faces.md"
MIRRORED = [1, 0, 2, 4, 3]
POINTS = ("eye on the left", "eye on the right", "nose", "mouth on the left", "mouth on the right")


def main(folder: str, landmarks: str) -> None:
    paths = sorted(Path(folder).iterdir())
    images = [read_image(path) for path in paths]
    started = time.process_time()
    found = find(images)
    each = (time.process_time() - started) / len(images)
    pairs = [(image, faces[0]) for image, faces in zip(images, found, strict=True) if faces]
    mirrored = find([ImageOps.mirror(image) for image, _ in pairs])
    crops = [crop(Sample(str(place), image), face) for place, (image, face) in enumerate(pairs)]
    again = find([sample.image for sample in crops])
    photographs = {path.stem: read_image(path) for path in shipped_photos().values()}
    faces = dict(zip(photographs, map(len, find(list(photographs.values()))), strict=True))
    missed = sum(not some for some in found)
    whole = _range([overlap(image.size, face) for image, face in pairs])
    cut = _range([overlap(one.image.size, some[0]) for one, some in zip(crops, again, strict=True) if some])
    lines = [
        "# Faces: found, aligned, cut out",
        "",
        f"Written by `python benchmarks/faces.py`, on {len(images)} generated portraits "
        f"({images[0].width} × {images[0].height} pixels; faces {_range([face.box[2] for _, face in pairs])} "
        "pixels wide) and the shipped photographs. [What it means](../docs/faces.md).",
        "",
        "| | |",
        "|---|---|",
        f"| portraits without a face found | {missed} of {len(images)} |",
        f"| portraits with more than one | {sum(len(some) > 1 for some in found)} |",
        f"| faces found in the {len(faces)} shipped photographs | "
        f"{', '.join(f'{name} {n}' for name, n in faces.items() if n)}; none in the others |",
        f"| CPU time per portrait, in batches | {1000 * each:.0f} ms |",
        f"| a portrait's overlap with the crop cut from it | {whole} |",
        f"| a crop's overlap with the crop that would be cut from it again | {cut} |",
        "",
        "Overlaps are intersections over unions: median (least to most). From 0.75 on an image is taken as "
        "an aligned crop.",
        "",
        *_recipe(pairs, crops),
        "",
        *_with_dlib({path.name: of for path, *of in zip(paths, images, found, strict=True)}, landmarks),
        "",
        *_mirrors(pairs, mirrored),
    ]
    PAGE.write_text("\n".join(lines) + "\n")
    print(f"{PAGE} written")


def _recipe(pairs: list[tuple[Image.Image, Face]], crops: list[Sample]) -> list[str]:
    """The steps of DeepfakeBench's preprocessing, with its libraries, on the same points."""
    cv2, transform = import_module("cv2"), import_module("skimage.transform")
    warnings.simplefilter("ignore")  # its way of estimating is said to go
    template = np.array(
        [[30.2946, 51.6963], [65.5318, 51.5014], [48.0252, 71.7366], [33.5493, 92.3655], [62.7299, 92.2041]],
        np.float32,
    )
    template[:, 0] += 8
    template = (template * (256 / 112) + 256 * 0.3 / 2) * (256 / (256 + 256 * 0.3))
    apart, means, most = [], [], []
    for (image, face), sample in zip(pairs, crops, strict=True):
        fitted = transform.SimilarityTransform()
        fitted.estimate(five_points(face.points).astype(np.float32), template.astype(np.float32))
        matrix = fitted.params[:2]
        ends = np.array([[0, 0, 1], [image.width, 0, 1], [0, image.height, 1]])
        assert sample.origin is not None
        apart.append(np.abs((matrix - sample.origin.to_crop) @ ends.T).max())
        pixels = cv2.warpAffine(np.asarray(image), matrix, (256, 256)).astype(int)
        difference = np.abs(pixels - np.asarray(sample.image))
        means.append(difference.mean())
        most.append(difference.max())
    return [
        f"## Beside the recipe's own libraries (scikit-image {import_module('skimage').__version__}, OpenCV "
        f"{cv2.__version__})",
        "",
        f"Of the same five points, {len(crops)} faces: the similarity puts the photographs' corners at most "
        f"{max(apart):.1e} pixels of the crop elsewhere; pixels of the crops differ by {np.mean(means):.2f} "
        f"of 255 in the mean and {max(most)} at the most, since OpenCV rounds places to 1/32 pixel.",
    ]


def _with_dlib(found: dict[str, list[Any]], landmarks: str) -> list[str]:
    """The crops of the recipe's own points beside those of MTCNN's: themselves, and with dlib's drawn."""
    ways = {"drawn": five_points, "themselves": lambda points: points}
    measured: dict[str, dict[str, list[float]]] = {way: {} for way in ways}
    known = []
    with np.load(landmarks) as file:
        for name in sorted(file.files):
            image, faces = found[name]
            if not faces:
                continue
            theirs = similarity(five_points(file[name]), places())
            for way, chosen in ways.items():
                apart = _apart(theirs, similarity(chosen(faces[0].points), places()))
                for what, value in apart.items():
                    measured[way].setdefault(what, []).append(value)
            cut = read_through(image, theirs, (256, 256))
            (again,) = find([cut])
            known.append(bool(again) and is_crop(cut, again[0]))
    rows = [
        f"| {what} | {' | '.join(_range(measured[way][what], 1) for way in ways)} |"
        for what in measured["drawn"]
    ]
    return [
        "## Beside the recipe's own points",
        "",
        "DeepfakeBench takes dlib's points 37, 44, 30, 49 and 55: upper lids rather than the eyes' middles; "
        "on the left the upper lip beside the mouth's corner, on the right the lower lip. Of five points we "
        "draw those. Crops beside those by dlib's 68-point model, median (least to most) of "
        f"{len(known)} portraits. The drawn face was once corrected by its mean offsets over these "
        "portraits, too:",
        "",
        "| | by dlib's points, drawn from MTCNN's (as it is done) | by MTCNN's points themselves |",
        "|---|---|---|",
        *rows,
        "",
        f"The recipe's crops that are known as such, and left as they are: {sum(known)} of {len(known)}.",
    ]


def _apart(theirs: np.ndarray, ours: np.ndarray) -> dict[str, float]:
    """How a crop differs from the recipe's of the same face."""
    factor = complex(*ours[:, 0]) / complex(*theirs[:, 0])
    frame = np.array([[127.5, 127.5], *corners(np.eye(2, 3), (256, 256))])
    where = np.linalg.solve(theirs[:, :2], (frame - theirs[:, 2]).T).T
    moved = np.linalg.norm(where @ ours[:, :2].T + ours[:, 2] - frame, axis=1)
    return {
        "the crop's corners lie elsewhere by, mean of four, pixels of 256": float(moved[1:].mean()),
        "its middle, pixels of 256": float(moved[0]),
        "the face is larger by, %": 100 * (abs(factor) - 1),
        "it is turned clockwise by, degrees": float(np.degrees(np.angle(factor))),
    }


def _mirrors(pairs: list[tuple[Image.Image, Face]], mirrored: list[list[Face]]) -> list[str]:
    """A face and its mirror image should have mirrored points."""
    errors = []
    for (image, face), faces in zip(pairs, mirrored, strict=True):
        if faces:
            there = faces[0].points[MIRRORED]
            there[:, 0] = image.width - 1 - there[:, 0]
            errors.append((face.points - there) / face.box[2])
    spread = np.array(errors)
    # of one of the two: they share the mean error, and their variances add up
    shift, noise = 100 * spread.mean(0) / 2, 100 * spread.std(0) / 2**0.5
    rows = [
        f"| {name} | {mean[0]:+.2f} % | {sd[0]:.1f} % | {sd[1]:.1f} % |"
        for name, mean, sd in zip(POINTS, shift, noise, strict=True)
    ]
    return [
        "## Points of a face and of its mirror image",
        "",
        "What the two disagree by, as a share of the face's width: how repeatable the points are, not how "
        "right. Mean: an error to one side, as a wrong idea of where pixels have their centres would make.",
        "",
        "| point | mean across | standard deviation across | down |",
        "|---|---:|---:|---:|",
        *rows,
    ]


def _range(values: list[float], digits: int | None = None) -> str:
    digits = (0 if max(values) > 10 else 2) if digits is None else digits
    return f"{np.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


if __name__ == "__main__":
    main(*sys.argv[1:])
