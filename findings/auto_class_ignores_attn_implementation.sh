#!/usr/bin/env bash
# AutoModel.from_pretrained ignores attn_implementation="eager" where ViT.from_pretrained obeys it.
#
# Run: bash findings/auto_class_ignores_attn_implementation.sh   (exit status 0: as described)
# Versions: transformers 5.23.0, torch 2.13.0.
#
# Situation: a config.json has the entry "_attn_implementation". The caller asks for another implementation by
# the documented argument.
#
# One would expect: the argument of the call wins over the stored entry, in the Auto class as in the model's
# own class, for this spelling of the entry as for "attn_implementation".
#
# What happens: with the entry "_attn_implementation" the Auto class keeps the stored value and the model's own
# class takes the argument. With the entry "attn_implementation" the argument wins in both.
#
# Why it matters: attention maps need "eager". With the Auto class the call that asks for it yields a model
# with "sdpa", whose outputs hold no attention weights. Only the request for the weights logs a line, long after
# the load. A caller who reads weights by hooks, or compares the two implementations, is told nothing.
#
# Output seen:
#   transformers 5.23.0, asked for: eager
#   _attn_implementation=sdpa, ViTForImageClassification: eager, layers with attention weights: 1
#   _attn_implementation=sdpa, AutoModelForImageClassification: sdpa, layers with attention weights: 0
#   attn_implementation=sdpa, ViTForImageClassification: eager, layers with attention weights: 1
#   attn_implementation=sdpa, AutoModelForImageClassification: eager, layers with attention weights: 1
set -euo pipefail
export PIP_DISABLE_PIP_VERSION_CHECK=1 OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 HF_HUB_DISABLE_PROGRESS_BARS=1

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 transformers==5.23.0 numpy==2.4.6

cat > "$folder/show.py" <<'PYTHON'
import json
import pathlib
import sys

import torch
import transformers
from transformers import AutoModelForImageClassification, ViTConfig, ViTForImageClassification

folder = pathlib.Path(sys.argv[1])
config = ViTConfig(
    hidden_size=16,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=32,
    image_size=32,
    patch_size=16,
)
ViTForImageClassification(config).save_pretrained(folder)
plain = json.loads((folder / "config.json").read_text())
images = torch.zeros(1, 3, 32, 32)

print(f"transformers {transformers.__version__}, asked for: eager")
seen = {}
for entry in ("_attn_implementation", "attn_implementation"):
    (folder / "config.json").write_text(json.dumps(plain | {entry: "sdpa"}))
    for loader in (ViTForImageClassification, AutoModelForImageClassification):
        model = loader.from_pretrained(folder, attn_implementation="eager").eval()
        used = model.config._attn_implementation
        weights = model(images, output_attentions=True).attentions
        seen[entry, loader.__name__] = (used, len(weights))
        print(f"{entry}=sdpa, {loader.__name__}: {used}, layers with attention weights: {len(weights)}")

for (entry, loader), found in seen.items():
    ignored = entry == "_attn_implementation" and loader == "AutoModelForImageClassification"
    stated = ("sdpa", 0) if ignored else ("eager", 1)
    assert found == stated, f"{entry}, {loader}: {found}, stated {stated}"
PYTHON

"$folder/venv/bin/python" "$folder/show.py" "$folder/model" 2> "$folder/log" || { cat "$folder/log"; exit 1; }
