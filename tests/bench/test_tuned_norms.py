"""Tuning of a tower's normalisations: what moves, what stays, and that pairs come apart."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as hf

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from benchmarks.frozen_head import Dinov2
from benchmarks.tuned_norms import pair_loss, small_parameters, tune_norms

CONFIG = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "patch_size": 56,
    "image_size": 224,
}


@pytest.fixture
def tower(tmp_path):
    torch.manual_seed(0)
    hf.Dinov2Model(hf.Dinov2Config(**CONFIG)).save_pretrained(tmp_path)
    return Dinov2(tmp_path, patches=False)


def test_matrices_and_the_embedding_of_patches_stay(tower):
    before = {name: value.clone() for name, value in tower.tower.state_dict().items()}
    rng = np.random.default_rng(0)
    photos = {name: rng.integers(0, 256, (240, 240, 3), dtype=np.uint8) for name in "ab"}
    tune_norms(tower, photos, {}, ["noise", "face_swap"], steps=2, seed=0, strength=5.0)
    moved = {name for name, value in tower.tower.state_dict().items() if not torch.equal(value, before[name])}
    assert moved and all("norm" in name or "layer_scale" in name or name.endswith("bias") for name in moved)
    assert not any("embeddings" in name for name in moved)
    assert not any(parameter.requires_grad for parameter in tower.tower.parameters())


def test_only_a_few_parameters_move(tower):
    small = sum(parameter.numel() for parameter in small_parameters(tower.tower))
    assert 0 < small < 0.1 * sum(parameter.numel() for parameter in tower.tower.parameters())


def test_the_loss_asks_twins_to_come_apart():
    apart, alike, wrong = (
        pair_loss(torch.tensor(scores)) for scores in ([-2.0, 2.0], [0.0, 0.0], [2.0, -2.0])
    )
    assert apart < alike < wrong
    assert alike.item() == pytest.approx(2 * np.log(2))
