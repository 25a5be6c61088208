#!/usr/bin/env bash
# facenet-pytorch's five points leave a face that lies at the border of the photograph.
#
# Run: bash findings/facenet_pytorch_points_beside_faces_at_the_border.sh   (exit status 0: as described)
# Versions: facenet-pytorch 2.6.0, torch 2.14.1, torchvision 0.29.1 (CPU), scikit-image 0.25.2 (its photograph
# of an astronaut, public domain, 512 x 512). facenet-pytorch asks for an older torch, Pillow and NumPy and is
# installed without its requirements; the code that matters is its own.
#
# Situation: MTCNN(keep_all=True).detect(image, landmarks=True) on the photograph, on the photograph cut off 20
# pixels left of the nearer eye (eyes, nose, mouth and both cheeks are still in it), and on that cut photograph
# with a black border of 100 pixels around it.
#
# One would expect: the face is found (it is, in all three) and its eyes lie where they are, to a pixel or two.
#
# What happens: in the cut photograph all five points lie 12 to 29 pixels to the left, of 42 between the eyes,
# and the box begins 44 pixels outside of the photograph. With the black border all points are right to two
# pixels. The window that the last network looks at is cut at the border and then stretched to its square
# input, while points and box are scaled by the window as it was before it was cut. The probability does not
# show it.
#
# Why it matters: crops are aligned by these points. Where a person stands at the edge of a frame the crop is
# shifted by half of the distance between the eyes, and a detector of forgeries, or a map drawn over the
# photograph, is about another place. Pad before detecting, and subtract the padding from the points.
#
# Output seen:
#   facenet-pytorch 2.6.0, torch 2.14.1
#   cut: probability 1.000, points off by [-29.0, -12.0, -18.7, -27.5, -12.3] pixels to the right
#   cut and padded: probability 1.000, points off by [-0.3, 0.6, -0.1, 0.9, -0.4] pixels to the right
set -euo pipefail
export PIP_DISABLE_PIP_VERSION_CHECK=1 OMP_NUM_THREADS=1

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 torchvision==0.29.1 scikit-image==0.25.2 requests tqdm
"$folder/venv/bin/pip" install --quiet --no-deps facenet-pytorch==2.6.0

cat > "$folder/show.py" <<'PYTHON'
from importlib.metadata import version

import numpy as np
import skimage.data
import torch
from facenet_pytorch import MTCNN
from PIL import Image, ImageOps

print(f"facenet-pytorch {version('facenet-pytorch')}, torch {torch.__version__.partition('+')[0]}")
photograph = Image.fromarray(skimage.data.astronaut())
mtcnn = MTCNN(keep_all=True, device="cpu")
LEFT, PADDING = 185, 100


def look(image):
    _, probabilities, points = mtcnn.detect(image, landmarks=True)
    best = int(np.argmax(probabilities))
    return float(probabilities[best]), np.asarray(points[best], float)


_, whole = look(photograph)
cut = photograph.crop((LEFT, 0, *photograph.size))
chance, points = look(cut)
off = points + (LEFT, 0) - whole
print(f"cut: probability {chance:.3f}, points off by {off[:, 0].round(1).tolist()} pixels to the right")
padded_chance, points = look(ImageOps.expand(cut, PADDING))
right = points - PADDING + (LEFT, 0) - whole
print(
    f"cut and padded: probability {padded_chance:.3f}, "
    f"points off by {right[:, 0].round(1).tolist()} pixels to the right"
)
assert chance > 0.99 and padded_chance > 0.99
assert (off[:, 0] < -8).all(), off
assert np.abs(right).max() < 3, right
PYTHON

"$folder/venv/bin/python" "$folder/show.py" 2> "$folder/log" || { cat "$folder/log"; exit 1; }
