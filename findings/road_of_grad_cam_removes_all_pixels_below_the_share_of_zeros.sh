#!/usr/bin/env bash
# grad-cam's ROAD replaces the whole image where a map has more zeros than the percentile asked for.
#
# Run: bash findings/road_of_grad_cam_removes_all_pixels_below_the_share_of_zeros.sh   (exit status 0: as described)
# Versions: grad-cam 1.5.7, torchvision 0.29.1, torch 2.14.1 (CPU).
#
# Situation: ROADMostRelevantFirst(p) keeps the p percent of the pixels with the least relevance and imputes the
# others. The map is one as Grad-CAM makes them: clipped at zero, so that nearly half of it is zero exactly.
#
# One would expect: at p = 30 three tenths of the image stay, some of the tied zeros, and the imputation fills
# the rest from them; a share that differs is reported.
#
# What happens: the threshold is the p-th percentile of the map, and what lies below it stays. For p up to the share
# of zeros the threshold is zero, nothing lies below it, and all pixels are "imputed" from none: the picture is
# noise around zero, at 10, 20, 30 and 40 percent alike. Nothing is said.
# ROADMostRelevantFirstAverage averages over 10 to 90. With the same map whose zeros are ordered by values too
# small to be seen, and below all others, the average is another.
#
# Why it matters: maps of ReLU methods are compared with signed or dense ones by this number. How many zeros a map
# has then counts more than where they are.
#
# Output seen:
#   grad-cam 1.5.7, torchvision 0.29.1, torch 2.14.1
#   zeros in the map: 47 %
#   pixels kept at 10 to 90:  0 0 0 0 50 60 69 79 89 %; ties broken:  10 20 30 40 50 60 69 79 89 %
#   average change of the score (all of the image has 0.50): -0.22; ties broken: between -0.05 and 0.05
set -euo pipefail
export PIP_DISABLE_PIP_VERSION_CHECK=1 OMP_NUM_THREADS=1

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 torchvision==0.29.1 grad-cam==1.5.7 numpy==2.4.6

cat > "$folder/show.py" <<'PYTHON'
from importlib.metadata import version

import numpy as np
import torch
from pytorch_grad_cam.metrics.road import ROADMostRelevantFirst, ROADMostRelevantFirstAverage
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

SIDE, PERCENTILES = 32, range(10, 100, 10)


class Brightness(torch.nn.Module):
    def forward(self, images):
        return images.mean((2, 3))


def kept(cam, percentile):
    _, shown = ROADMostRelevantFirst(percentile)(image, cam, target, Brightness(), return_visualization=True)
    return float((shown[0] == image[0]).all(0).float().mean())


print(", ".join(f"{name} {version(name).partition('+')[0]}" for name in ("grad-cam", "torchvision", "torch")))
torch.manual_seed(0)
image, target = torch.rand(1, 3, SIDE, SIDE), [ClassifierOutputTarget(0)]
rows, columns = np.mgrid[:SIDE, :SIDE]
cone = 1 - np.hypot(rows - 10, columns - 20) / 14
clipped = np.maximum(cone, 0).astype(np.float32)[None]
order = np.random.default_rng(0).permutation(SIDE * SIDE).reshape(1, SIDE, SIDE)
untied = np.where(clipped == 0, 1e-6 * order / SIDE**2, clipped).astype(np.float32)
assert untied[clipped == 0].max() < untied[clipped > 0].min()

zeros = float((clipped == 0).mean())
print(f"zeros in the map: {100 * zeros:.0f} %")
shares = [[kept(cam, percentile) for percentile in PERCENTILES] for cam in (clipped, untied)]
first, second = (" ".join(f"{100 * share:.0f}" for share in row) for row in shares)
print(f"pixels kept at 10 to 90:  {first} %; ties broken:  {second} %")
for percentile, tied, free in zip(PERCENTILES, *shares, strict=True):
    assert abs(free - percentile / 100) < 0.02, (percentile, free)
    assert tied == 0 if percentile / 100 < zeros else abs(tied - percentile / 100) < 0.02, (percentile, tied)
change = [float(ROADMostRelevantFirstAverage()(image, cam, target, Brightness())[0]) for cam in (clipped, untied)]
assert -0.25 < change[0] < -0.19 and abs(change[1]) < 0.05, change
print(f"average change of the score (all of the image has {float(image[:, 0].mean()):.2f}): {change[0]:.2f}; ", end="")
print("ties broken: between -0.05 and 0.05")
PYTHON

"$folder/venv/bin/python" "$folder/show.py" 2> "$folder/log" || { cat "$folder/log"; exit 1; }
