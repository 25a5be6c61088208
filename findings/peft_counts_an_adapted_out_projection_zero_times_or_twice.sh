#!/usr/bin/env bash
# peft counts the LoRA of nn.MultiheadAttention's out-projection twice, or, targeted alone, only after a merge.
#
# Run: bash findings/peft_counts_an_adapted_out_projection_zero_times_or_twice.sh   (exit status 0: as described)
# Versions: peft 0.21.2, torch 2.13.0.
#
# Situation: a model whose attention is torch.nn.MultiheadAttention (open_clip's towers are), adapted by LoRA
# with random matrices, as if trained. The adapter's own formula gives the out-projection W + alpha/r B A.
#
# One would expect: the forward pass of the adapted model, and the plain model after merge_and_unload, compute
# with W + alpha/r B A, whichever way the module was named in target_modules.
#
# What happens: target_modules=["attn"] adapts the out-projection with the module, and the forward pass and the
# merged weights both hold W + 2 alpha/r B A. target_modules=["out_proj"] makes an adapter that the forward pass
# of torch's attention never runs: the logits are those of the model without it, to the bit. merge_and_unload
# then writes it into the weights, so that merging changes what the model answers.
#
# Why it matters: a detector trained as ["out_proj"] has an adapter without any effect until someone merges it;
# code that folds "attn" adapters by the documented formula rebuilds another model than the one evaluated.
#
# Output seen:
#   peft 0.21.2, torch 2.13.0
#   ["attn"]: forward pass as with 2 x B A, merged as with 2 x B A
#   ["out_proj"]: forward pass as with 0 x B A, merged as with 1 x B A
set -euo pipefail
export PIP_DISABLE_PIP_VERSION_CHECK=1 OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 transformers==5.23.0 peft==0.21.2 numpy==2.4.6

cat > "$folder/show.py" <<'PYTHON'
from importlib.metadata import version

import torch
from peft import LoraConfig, get_peft_model
from torch import nn

SCALE = 4.0  # lora_alpha / r below


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.attn = nn.MultiheadAttention(16, 2, batch_first=True)
        self.head = nn.Linear(16, 2)

    def forward(self, tokens):
        return self.head(self.attn(tokens, tokens, tokens, need_weights=False)[0].mean(1))


def plain():
    torch.manual_seed(0)
    return Net().eval()


def by_formula(adapter, times):
    """The plain network with `times` the change that each LoRA pair stands for."""
    net = plain()
    with torch.no_grad():
        for name, down in adapter.items():
            if ".lora_A." not in name:
                continue
            change = SCALE * adapter[name.replace("lora_A", "lora_B")] @ down
            if "out_proj" in name:
                net.attn.out_proj.weight += times * change
            else:
                net.attn.in_proj_weight += change
    return net


def times_of(answer, adapter, tokens):
    found = [n for n in (0, 1, 2) if torch.allclose(answer, by_formula(adapter, n)(tokens), atol=1e-5)]
    assert len(found) == 1, found
    return found[0]


print(f"peft {version('peft')}, torch {version('torch').partition('+')[0]}")
tokens = torch.randn(3, 5, 16, generator=torch.Generator().manual_seed(1))
stated = {"attn": (2, 2), "out_proj": (0, 1)}
for target, expected in stated.items():
    torch.manual_seed(2)
    config = LoraConfig(target_modules=[target], r=2, lora_alpha=8, init_lora_weights=False)
    model = get_peft_model(plain(), config).eval()
    adapter = {name: value.detach().clone() for name, value in model.named_parameters() if ".lora_" in name}
    with torch.no_grad():
        forward = times_of(model(tokens), adapter, tokens)
        merged = times_of(model.merge_and_unload().eval()(tokens), adapter, tokens)
    print(f'["{target}"]: forward pass as with {forward} x B A, merged as with {merged} x B A')
    assert (forward, merged) == expected, f"stated {expected}"
PYTHON

"$folder/venv/bin/python" "$folder/show.py" 2> "$folder/log" || { cat "$folder/log"; exit 1; }
