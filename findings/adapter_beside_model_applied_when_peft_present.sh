#!/usr/bin/env bash
# A folder with a full model and an adapter gives two models, depending on whether peft is installed.
#
# Run: bash findings/adapter_beside_model_applied_when_peft_present.sh   (exit status 0: as described)
# Versions: transformers 5.23.0, peft 0.21.2, torch 2.13.0.
#
# Situation: a LoRA adapter is trained and saved in a folder. Later it is merged into the weights and the
# merged model is saved in the same folder, which now holds config.json and model.safetensors beside
# adapter_config.json and adapter_model.safetensors. Every file is valid.
#
# One would expect: ViTForImageClassification.from_pretrained(folder) loads model.safetensors, the complete
# model, and gives the same logits everywhere.
#
# What happens: where peft is installed the adapter is put on top of the merged weights, so that it counts
# twice. Where peft is not installed the adapter is ignored. Neither case prints a word about an adapter.
#
# Why it matters: the installed packages decide which model is explained. A heatmap made on one machine
# belongs to another classifier than the one that was evaluated on the next machine.
#
# Output seen:
#   README.md, adapter_config.json, adapter_model.safetensors, config.json,
#   model.safetensors
#   transformers 5.23.0, peft installed: True
#     logits saved -0.0624, 0.0348, loaded -0.0643, 0.0442, LoRA matrices 4
#   transformers 5.23.0, peft installed: False
#     logits saved -0.0624, 0.0348, loaded -0.0624, 0.0348, LoRA matrices 0
set -euo pipefail
export PIP_DISABLE_PIP_VERSION_CHECK=1 OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 HF_HUB_DISABLE_PROGRESS_BARS=1

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 transformers==5.23.0 peft==0.21.2 numpy==2.4.6

cat > "$folder/make.py" <<'PYTHON'
import sys

import torch
from peft import LoraConfig, get_peft_model
from transformers import ViTConfig, ViTForImageClassification

folder, logits_file = sys.argv[1:]
torch.manual_seed(0)
config = ViTConfig(
    hidden_size=16,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=32,
    image_size=32,
    patch_size=16,
    num_labels=2,
)
base = ViTForImageClassification(config)
# init_lora_weights=False draws both LoRA matrices at random, as if the adapter had been trained.
tuned = get_peft_model(
    base, LoraConfig(target_modules=["q_proj", "v_proj"], r=2, lora_alpha=16, init_lora_weights=False)
)
tuned.save_pretrained(folder)
merged = tuned.merge_and_unload().eval()
merged.save_pretrained(folder)
images = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
query = merged.vit.layers[0].attention.q_proj.weight.detach()
torch.save({"images": images, "logits": merged(images).logits.detach(), "query": query}, logits_file)
PYTHON

cat > "$folder/load.py" <<'PYTHON'
import contextlib
import importlib.util
import io
import logging
import sys
import warnings

import torch
import transformers
from transformers import ViTForImageClassification

folder, logits_file = sys.argv[1:]
with_peft = importlib.util.find_spec("peft") is not None
said = io.StringIO()
logging.getLogger("transformers").addHandler(logging.StreamHandler(said))
with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
    warnings.simplefilter("always")
    model = ViTForImageClassification.from_pretrained(folder).eval()
saved = torch.load(logits_file)
logits = model(saved["images"]).logits.detach()
same = torch.allclose(logits, saved["logits"], atol=1e-6)
lora = [name for name, _ in model.named_parameters() if "lora_" in name]


def shown(values: torch.Tensor) -> str:
    return ", ".join(f"{value:.4f}" for value in values[0].tolist())


print(f"transformers {transformers.__version__}, peft installed: {with_peft}")
print(f"  logits saved {shown(saved['logits'])}, loaded {shown(logits)}, LoRA matrices {len(lora)}")
query = model.vit.layers[0].attention.q_proj
query = query.base_layer if with_peft else query
assert torch.equal(query.weight, saved["query"]), "the weights below the adapter are not the merged ones"
for word in ("adapter", "lora", "peft"):
    assert word not in said.getvalue().lower(), f"the load mentions {word!r}: {said.getvalue()}"
if with_peft:
    assert lora and not same, "with peft the adapter is no longer applied to the merged model"
else:
    assert same and not lora, "without peft the loaded model differs from the one saved"
PYTHON

"$folder/venv/bin/python" "$folder/make.py" "$folder/model" "$folder/logits.pt" 2> "$folder/make.log"
ls -m "$folder/model"
"$folder/venv/bin/python" "$folder/load.py" "$folder/model" "$folder/logits.pt"
"$folder/venv/bin/pip" uninstall --quiet --yes peft
"$folder/venv/bin/python" "$folder/load.py" "$folder/model" "$folder/logits.pt"
