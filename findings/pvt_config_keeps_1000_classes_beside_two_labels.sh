#!/usr/bin/env bash
# A PVT configured with two labels has a head of 1000 classes, without a word.
#
# Run: bash findings/pvt_config_keeps_1000_classes_beside_two_labels.sh   (exit status 0: as described)
# Versions: transformers 5.23.0, torch 2.13.0 (CPU).
#
# Situation: id2label and label2id of two classes are given to a configuration, as transformers' guide to image
# classification does, and a classifier is made of it.
#
# One would expect: num_labels is the number of labels, so the head has two outputs. SwinConfig and ViTConfig do so:
# in the base class num_labels is a property that counts id2label.
#
# What happens: PvtConfig declares a field num_labels of its own, 1000 by default, which hides that property. The
# model answers with 1000 logits, 998 of which have no name. The other way round, num_labels=2 alone leaves id2label
# None, where other models have LABEL_0 and LABEL_1, so whoever looks a class's name up fails.
#
# Why it matters: a detector fine-tuned like this trains a 1000-way softmax on two classes. Its loss falls, its
# probabilities are shared with 998 classes that do not exist, and only a look at a logit's shape tells.
#
# Output seen:
#   transformers 5.23.0, torch 2.13.0
#   SwinConfig, 2 labels: num_labels 2, logits (1, 2)
#   ViTConfig, 2 labels: num_labels 2, logits (1, 2)
#   PvtConfig, 2 labels: num_labels 1000, logits (1, 1000)
#   PvtConfig(num_labels=2).id2label: None; SwinConfig(num_labels=2).id2label: {0: 'LABEL_0', 1: 'LABEL_1'}
set -euo pipefail
export PIP_DISABLE_PIP_VERSION_CHECK=1 OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 transformers==5.23.0 numpy==2.4.6

cat > "$folder/show.py" <<'PYTHON'
import torch
import transformers as hf

print(f"transformers {hf.__version__}, torch {torch.__version__.partition('+')[0]}")
names = {"id2label": {0: "real", 1: "fake"}, "label2id": {"real": 0, "fake": 1}}
small = {
    "Swin": {"image_size": 32, "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 1], "window_size": 2},
    "ViT": {"image_size": 32, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1},
    "Pvt": {"image_size": 32, "hidden_sizes": [8, 8, 8, 8], "depths": [1] * 4, "num_attention_heads": [1] * 4},
}
for name, options in small.items():
    config = getattr(hf, f"{name}Config")(**options, **names)
    model = getattr(hf, f"{name}ForImageClassification")(config).eval()
    with torch.no_grad():
        shape = tuple(model(torch.zeros(1, 3, 32, 32)).logits.shape)
    print(f"{name}Config, {len(config.id2label)} labels: num_labels {config.num_labels}, logits {shape}")
    assert len(config.id2label) == 2
    assert shape == ((1, 1000) if name == "Pvt" else (1, 2)), shape
pvt, swin = hf.PvtConfig(num_labels=2).id2label, hf.SwinConfig(num_labels=2).id2label
print(f"PvtConfig(num_labels=2).id2label: {pvt}; SwinConfig(num_labels=2).id2label: {swin}")
assert pvt is None and swin == {0: "LABEL_0", 1: "LABEL_1"}
PYTHON

"$folder/venv/bin/python" "$folder/show.py" 2> "$folder/log" || { cat "$folder/log"; exit 1; }
