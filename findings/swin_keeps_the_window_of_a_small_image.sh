#!/usr/bin/env bash
# One small image changes what a Swin model answers to every later image.
#
# Run: bash findings/swin_keeps_the_window_of_a_small_image.sh   (exit status 0: as described)
# Versions: transformers 5.23.0, torch 2.13.0 (CPU).
#
# Situation: a SwinForImageClassification in evaluation mode, under no_grad, built for 64 × 64 pixels with
# windows of 8 × 8 tokens. It is asked about an image of 64 × 64, then about one of 32 × 32 (which the model
# accepts: it pads to windows, and its bias is relative), then about the first image again.
#
# One would expect: a model in evaluation mode keeps nothing of an image, so the first image's logits are the
# same both times, bit for bit, as they are when nothing is asked in between.
#
# What happens: a map of tokens that is no larger than the window switches the shift off and shrinks the
# window, and the layer keeps both: SwinLayer.set_shift_and_window_size writes self.shift_size and
# self.window_size. With one stage every later image gets other logits, without a word, since its shifted
# windows are not shifted any more. No weight and no buffer has changed, so a digest of the state_dict says
# that the model is the same.
#
# Why it matters: thumbnails in a batch job, a probe with a small dummy input, or multi-scale tests make the
# answers, and the explanations, of all later images depend on the order in which images came.
#
# Output seen:
#   transformers 5.23.0, torch 2.13.0
#   windows and shifts: [(8, 0), (8, 4)]
#   the same image twice, nothing between: logits apart by 0
#   after an image of 32 x 32: logits apart, state_dict unchanged
#   windows and shifts: [(8, 0), (8, 0)]
set -euo pipefail
export PIP_DISABLE_PIP_VERSION_CHECK=1 OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 transformers==5.23.0 numpy==2.4.6

cat > "$folder/show.py" <<'PYTHON'
import torch
import transformers
from transformers import SwinConfig, SwinForImageClassification

print(f"transformers {transformers.__version__}, torch {torch.__version__.partition('+')[0]}")
torch.manual_seed(0)
config = SwinConfig(image_size=64, patch_size=4, embed_dim=16, depths=[2], num_heads=[2], window_size=8)
model = SwinForImageClassification(config).eval()
layers = [m for m in model.modules() if type(m).__name__ == "SwinLayer"]
weights = {name: value.clone() for name, value in model.state_dict().items()}
large, small = torch.randn(1, 3, 64, 64), torch.randn(1, 3, 32, 32)


def windows():
    return [(layer.window_size, layer.shift_size) for layer in layers]


with torch.no_grad():
    first = model(large).logits
    print(f"windows and shifts: {windows()}")
    assert windows() == [(8, 0), (8, 4)], windows()
    apart = float((model(large).logits - first).abs().max())
    print(f"the same image twice, nothing between: logits apart by {apart:g}")
    assert apart == 0
    model(small)
    apart = float((model(large).logits - first).abs().max() / first.abs().max())
same = all(torch.equal(weights[name], value) for name, value in model.state_dict().items())
assert same and apart > 1e-5, (same, apart)
print("after an image of 32 x 32: logits apart, state_dict unchanged")
print(f"windows and shifts: {windows()}")
assert windows() == [(8, 0), (8, 0)], windows()
PYTHON

"$folder/venv/bin/python" "$folder/show.py" 2> "$folder/log" || { cat "$folder/log"; exit 1; }
