#!/usr/bin/env bash
# Quantus' pointing game counts an image with an empty mask as a hit, where its other metrics give NaN.
#
# Run: bash findings/quantus_pointing_game_counts_an_empty_mask_as_a_hit.sh   (exit status 0: as described)
# Versions: quantus 0.6.0, numpy 2.3.5.
#
# Situation: ten images of which five are forged, with a mask of the forged region, and five are real, so that their
# masks are empty. Each map's maximum lies outside of the mask.
#
# One would expect: NaN for the real images, which have nothing to find, as from Relevance Rank Accuracy, Top-K
# Intersection and AUC, or an error; without them the score is 0.
#
# What happens: the code assigns NaN to the images with an empty mask, but into the array of hits, whose type is
# bool, and NaN as a bool is True. The check that masks hold something counts axes and lets empty ones pass. Each
# real image is a hit, whatever its map, and the share of hits is that of the real images.
#
# Why it matters: deepfake sets hold as many real images as forged ones. A method that never hits scores 0.5, and one
# that hits half of the forged ones 0.75; more real images in the set make every method better.
#
# Output seen:
#   quantus 0.6.0, numpy 2.3.5
#   PointingGame: 0.00 on forged images, 1.00 on real ones
#   RelevanceRankAccuracy: 0.14 on forged images, nan on real ones
#   TopKIntersection: 0.12 on forged images, nan on real ones
#   AUC: 0.48 on forged images, nan on real ones
#   PointingGame over all: 0.50
set -euo pipefail
export PIP_DISABLE_PIP_VERSION_CHECK=1 OMP_NUM_THREADS=1

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 quantus==0.6.0 numpy==2.3.5

cat > "$folder/show.py" <<'PYTHON'
from importlib.metadata import version

import numpy as np
import quantus
import torch

print(", ".join(f"{name} {version(name)}" for name in ("quantus", "numpy")))
COUNT, FORGED, SIDE = 10, 5, 16
random = np.random.default_rng(0)
images = random.random((COUNT, 3, SIDE, SIDE), np.float32)
maps = random.uniform(0, 1, (COUNT, 1, SIDE, SIDE))
maps[:, 0, 12, 12] = 2
masks = np.zeros((COUNT, 1, SIDE, SIDE), int)
masks[:FORGED, :, 2:8, 2:8] = 1
labels = (np.arange(COUNT) < FORGED).astype(int)

found = {}
for name in ("PointingGame", "RelevanceRankAccuracy", "TopKIntersection", "AUC"):
    options = {"k": 20} if name == "TopKIntersection" else {}
    metric = getattr(quantus, name)(disable_warnings=True, return_aggregate=False, **options)
    found[name] = np.array(metric(torch.nn.Identity(), images, labels, maps, masks), float)
    forged, real = found[name][:FORGED], found[name][FORGED:]
    print(f"{name}: {forged.mean():.2f} on forged images, {real.mean():.2f} on real ones")
for name, values in found.items():
    assert np.isfinite(values[:FORGED]).all()
    assert (values[FORGED:] == 1).all() if name == "PointingGame" else np.isnan(values[FORGED:]).all(), (name, values)
assert (found["PointingGame"][:FORGED] == 0).all()
print(f"PointingGame over all: {found['PointingGame'].mean():.2f}")
PYTHON

"$folder/venv/bin/python" "$folder/show.py" 2> "$folder/log" || { cat "$folder/log"; exit 1; }
