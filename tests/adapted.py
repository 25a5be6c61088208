"""Small models with adapters of PEFT, which change what they answer."""

import tiny_models as tiny
import torch
import transformers as hf
from peft import (
    IA3Config,
    LNTuningConfig,
    LoHaConfig,
    LoKrConfig,
    LoraConfig,
    get_peft_model,
)

NAMES = {0: "real", 1: "fake"}
KINDS = {
    "lora": LoraConfig(
        r=2,
        lora_alpha=3,
        target_modules=["q_proj", "fc1", "projection"],
        modules_to_save=["classifier"],
        bias="lora_only",
        rank_pattern={"fc1": 4},
        alpha_pattern={"layers.0.mlp.fc1": 7},
    ),
    "rslora": LoraConfig(r=4, lora_alpha=3, use_rslora=True, lora_bias=True, target_modules=["v_proj"]),
    "dora": LoraConfig(r=2, use_dora=True, target_modules=["q_proj", "projection"], bias="all"),
    "ia3": IA3Config(target_modules=["q_proj", "fc1", "projection"], feedforward_modules=["fc1"]),
    "loha": LoHaConfig(r=2, alpha=3, target_modules=["q_proj", "projection"], use_effective_conv2d=True),
    "lokr": LoKrConfig(r=2, target_modules=["q_proj", "projection"], decompose_both=True),
    "lokr_of_whole_factors": LoKrConfig(r=9, alpha=3, target_modules=["q_proj"]),
    "lokr_of_a_kernel": LoKrConfig(r=2, target_modules=["projection"], use_effective_conv2d=True),
    "ln_tuning": LNTuningConfig(target_modules=["layernorm_before"]),
}


def vit(labels=NAMES, **options):
    config = hf.ViTConfig(
        **tiny.TOWER, id2label=labels, label2id={name: number for number, name in labels.items()}, **options
    )
    return tiny.randomize(hf.ViTForImageClassification(config))


def tuned(model, config, seed=0):
    """A PEFT model whose adapters change something."""
    model = get_peft_model(model, config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            if parameter.requires_grad and "ranknum" not in name:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model.eval()


def saved_base(folder):
    """A small ViT in a folder, as adapters name it."""
    tiny.save_pretrained(folder, vit())
    return folder


def loaded(base):
    return hf.ViTForImageClassification.from_pretrained(base)


def logits(model):
    with torch.no_grad():
        return model(tiny.pixels(3)).logits


def assert_answers(classifier, expected):
    with torch.no_grad():
        got = classifier(tiny.pixels(3))
    assert (got - expected).abs().max() <= 1e-5 * max(1.0, expected.abs().max().item())
