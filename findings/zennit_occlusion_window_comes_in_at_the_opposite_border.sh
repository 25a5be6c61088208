#!/usr/bin/env bash
# zennit's sliding window leaves the image at one border and comes in again at the opposite one.
#
# Run: bash findings/zennit_occlusion_window_comes_in_at_the_opposite_border.sh   (exit status 0: as described)
# Versions: zennit 0.5.1, torch 2.14.1 (CPU).
#
# Situation: zennit.attribution.Occlusion explains a classifier that gives the brightness of the rightmost two
# columns, with windows of 8 × 8 pixels: every 8 pixels, as by default, and overlapping, every 4.
#
# One would expect: a window that reaches over the border is cut there, as captum's is. No window over the left
# border touches the right one, so the left border's scores are zero (by default all but the window is hidden).
#
# What happens: the window is moved by torch.roll, which wraps around. With a stride smaller than the window, or a
# side that is no multiple of the stride, the last windows of each row lie in two pieces, at both borders, and the
# last rows at top and bottom. Both pieces get the score. On 30 pixels the left border is as relevant as the right
# one; overlapping windows on 32 give it half as much. On 32 pixels with windows side by side none wraps.
#
# Why it matters: a face fills its crop, and the traces of a swap lie along its edge. What the classifier sees at
# one ear is drawn at the other one too, and at the chin what it sees at the forehead.
#
# Output seen:
#   zennit 0.5.1, torch 2.14.1
#   32 pixels, 8 every 8: left border 0.0, middle 0.0, right border 1.0
#   30 pixels, 8 every 8: left border 1.0, middle 0.0, right border 1.0
#   32 pixels, 8 every 4: left border 0.5, middle 0.0, right border 1.0
set -euo pipefail
export PIP_DISABLE_PIP_VERSION_CHECK=1 OMP_NUM_THREADS=1

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 torchvision==0.29.1 zennit==0.5.1 numpy==2.4.6

cat > "$folder/show.py" <<'PYTHON'
from importlib.metadata import version

import torch
from zennit.attribution import Occlusion

print(", ".join(f"{name} {version(name).partition('+')[0]}" for name in ("zennit", "torch")))


class RightBrightness(torch.nn.Module):
    def forward(self, images):
        return images[..., -2:].mean((1, 2, 3))[:, None]


model = RightBrightness()
for side, stride, stated in ((32, 8, 0), (30, 8, 1), (32, 4, 0.5)):
    _, found = Occlusion(model, window=(8, 8), stride=(stride, stride))(torch.ones(1, 3, side, side))
    columns = found[0].sum((0, 1)) / found[0].sum((0, 1)).max()
    left, middle, right = float(columns[0]), float(columns[8:-8].max()), float(columns[-1])
    print(f"{side} pixels, 8 every {stride}: left border {left:.1f}, middle {middle:.1f}, right border {right:.1f}")
    assert (middle, right) == (0, 1) and abs(left - stated) < 1e-6, (left, middle, right)
PYTHON

"$folder/venv/bin/python" "$folder/show.py" 2> "$folder/log" || { cat "$folder/log"; exit 1; }
