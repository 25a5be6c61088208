#!/usr/bin/env bash
# Quantus scores the first batch alone in ROAD and Sensitivity-N: the images after the 64th have no say.
#
# Run: bash findings/quantus_road_scores_the_first_batch_alone.sh   (exit status 0: as described)
# Versions: quantus 0.6.0, torch 2.13.0 (CPU).
#
# Situation: 96 grey images with a bright square, a classifier that gives the square's brightness against a half,
# and a map for each. The maps of 64 images show the square, those of 32 a dark corner. ROAD removes the tenth of
# the pixels with the most relevance and gives the share of images still classified as before. The same set is
# given in two orders, with Quantus' default batch size, 64, and with one that takes all at once.
#
# One would expect: a third in all cases, since only removing the square changes an answer. The batch size is a
# matter of memory, and the order of images of nothing.
#
# What happens: each batch gives one array of results, and at the end the first of these is averaged, and the
# others left out. With batches of 64 the score is 0.00 when the good maps come first, and 0.50 when they come
# last. Sensitivity-N is written alike: its correlation over images is that of the first 64, to the bit, whatever
# the other images' maps are. Nothing is said; all images have been evaluated, and paid for.
#
# Why it matters: a data set sorted by class or by video is scored by its first 64 images, so perhaps by the real
# ones alone, and two methods are compared on these.
#
# Output seen:
#   quantus 0.6.0, torch 2.13.0
#   ROAD, one batch of 96: 0.33 with good maps first, 0.33 with them last
#   ROAD, batches of 64: 0.00 with good maps first, 0.50 with them last
#   Sensitivity-N: -0.07 in batches of 64, as of the first 64 alone; 0.04 in one batch of 96
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

print(", ".join(f"{name} {version(name).partition('+')[0]}" for name in ("quantus", "torch")))
COUNT, SIDE, SQUARE, CORNER = 96, 16, np.s_[5:10, 5:10], np.s_[:5, :5]
random = np.random.default_rng(0)


class Bright(torch.nn.Module):
    def forward(self, images):
        brightness = images[:, 0, *SQUARE].mean((1, 2))
        return torch.stack([torch.full_like(brightness, 0.5), brightness], 1)


images = random.uniform(0, 0.2, (COUNT, 1, SIDE, SIDE)).astype(np.float32)
images[:, 0, *SQUARE] += 0.7
maps = random.uniform(0, 0.1, images.shape).astype(np.float32)
maps[:64, 0, *SQUARE] += 1
maps[64:, 0, *CORNER] += 1
labels = np.ones(COUNT, int)
quiet = {"disable_warnings": True, "display_progressbar": False}


def score(metric, order, given, **options):
    np.random.seed(0)
    found = metric(Bright().eval(), images[order], labels[order], given[order], **options)
    return float(found[10] if isinstance(found, dict) else found[0])


forwards = np.arange(COUNT)
cases = {"one batch of 96": ({"batch_size": COUNT}, (1 / 3, 1 / 3)), "batches of 64": ({}, (0, 0.5))}
for name, (options, stated) in cases.items():
    road = quantus.ROAD(percentages=[10], **quiet)
    found = [score(road, order, maps, **options) for order in (forwards, forwards[::-1])]
    print(f"ROAD, {name}: {found[0]:.2f} with good maps first, {found[1]:.2f} with them last")
    assert np.allclose(found, stated), found

sensitivity = quantus.SensitivityN(features_in_step=16, **quiet)
reversed_maps = np.concatenate([maps[:64], maps[64:, :, ::-1, ::-1]])
all_96, first_64 = score(sensitivity, forwards, maps), score(sensitivity, forwards[:64], maps)
changed, at_once = score(sensitivity, forwards, reversed_maps), score(sensitivity, forwards, maps, batch_size=COUNT)
assert all_96 == first_64 == changed and abs(at_once - all_96) > 0.05, (all_96, first_64, changed, at_once)
print(f"Sensitivity-N: {all_96:.2f} in batches of 64, as of the first 64 alone; {at_once:.2f} in one batch of 96")
PYTHON

"$folder/venv/bin/python" "$folder/show.py" 2> "$folder/log" || { cat "$folder/log"; exit 1; }
