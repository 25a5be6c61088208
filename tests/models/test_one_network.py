"""Published detectors that load as one network: each equals a forward pass written apart from it."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import published_forwards as plain
import pytest
import tiny_models as tiny
import torch
from checkpoints import write
from huggingface_hub import PyTorchModelHubMixin
from safetensors.torch import save_file
from torch import Tensor, nn

import xai
from xai import metrics
from xai.attention import diagnose
from xai.attr import create
from xai.core import ConfigError, ModelError
from xai.explanation import examine
from xai.explanation.explainer import choose_method
from xai.models import Classifier, list_families

State = dict[str, Tensor]


def weights(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> State:
    """Noise of these shapes; gains around 1, so that no norm is idle."""
    generator = torch.Generator().manual_seed(seed)
    state = {name: torch.randn(shape, generator=generator) * 0.2 for name, shape in sorted(shapes.items())}
    return {n: v + 1 if v.ndim == 1 and n.endswith("weight") else v for n, v in state.items()}


def timm_vit(depth: int = 2, width: int = 64) -> State:
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, 17, width),
        "patch_embed.proj.weight": (width, 3, 8, 8),
        "patch_embed.proj.bias": (width,),
        "norm.weight": (width,),
        "norm.bias": (width,),
    }
    for block in range(depth):
        for name, size in {"attn.qkv": 192, "attn.proj": 64, "mlp.fc1": 96}.items():
            shapes[f"blocks.{block}.{name}.weight"] = (size, width)
            shapes[f"blocks.{block}.{name}.bias"] = (size,)
        shapes[f"blocks.{block}.mlp.fc2.weight"] = (width, 96)
        for name in ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias", "mlp.fc2.bias"):
            shapes[f"blocks.{block}.{name}"] = (width,)
    return weights(shapes)


def named(before: str, state: State) -> State:
    return {before + name: tensor for name, tensor in state.items()}


def linear(outputs: int, inputs: int, seed: int = 3) -> State:
    return tiny.randomize(nn.Linear(inputs, outputs), seed=seed).state_dict()


def c2p_clip() -> State:
    projection = tiny.randomize(nn.Linear(64, 24, bias=False), seed=2).state_dict()
    tower = named("vision_model.", tiny.clip_tower().state_dict())
    return named(
        "model.", {**tower, **named("visual_projection.", projection), **named("fc.", linear(1, 24))}
    )


def community_forensics() -> State:
    return named("vit.", {**timm_vit(), **named("head.", linear(1, 64))})


def openai_names(state: State) -> State:
    """As OpenAI's CLIP keeps an image tower."""
    swaps = {
        "embeddings.patch_embedding": "conv1", "embeddings.class_embedding": "class_embedding",
        "embeddings.position_embedding.weight": "positional_embedding", "pre_layrnorm": "ln_pre",
        "post_layernorm": "ln_post", "encoder.layers": "transformer.resblocks", "layer_norm": "ln_",
        "self_attn.out_proj": "attn.out_proj", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj",
    }  # fmt: skip
    found: State = {}
    for name, tensor in state.items():
        for old, new in swaps.items():
            name = name.replace(old, new)
        found[name] = tensor
    for kind in ("weight", "bias"):
        for block in range(2):
            at = f"transformer.resblocks.{block}"
            parts = [found.pop(f"{at}.self_attn.{one}_proj.{kind}") for one in "qkv"]
            found[f"{at}.attn.in_proj_{kind}"] = torch.cat(parts)
    return found


def uia_vit(depth: int = 9) -> State:
    more = {"c_real": torch.tensor(0.6), "c_fake": torch.tensor(0.6), "c_cross": torch.tensor(0.2)}
    middle = {"norm_middle.weight": torch.ones(64), "norm_middle.bias": torch.zeros(64)}
    return named("model.", {**timm_vit(depth), **more, **middle, **named("head.", linear(2, 128))})


def norms(*names_and_widths: tuple[str, int]) -> dict[str, tuple[int, ...]]:
    parts = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{part}": (width,) for name, width in names_and_widths for part in parts}


def settled(state: State) -> State:
    """Variances above zero, kernels as loud as their inputs are few, and the counters of batches."""
    for name in list(state):
        if name.endswith("running_var"):
            state[name] = 0.5 + state[name].abs()
            state[name.replace("running_var", "num_batches_tracked")] = torch.tensor(7)
        elif state[name].ndim == 4:
            state[name] = state[name] * 12 / state[name][0].numel() ** 0.5
    return state


def xception() -> State:
    """Three blocks that halve, one of the middle flow, the last: widths 4 to 24."""
    shapes: dict[str, tuple[int, ...]] = {"conv1.weight": (4, 3, 3, 3), "conv2.weight": (6, 4, 3, 3)}
    shapes |= norms(("bn1", 4), ("bn2", 6), ("bn3", 20), ("bn4", 24))
    widths = {1: (6, 8), 2: (8, 12), 3: (12, 16), 4: (16, 16), 5: (16, 18)}
    for block, (places, halves) in plain.XCEPTION.items():
        before, after = widths[block]
        for place in places:
            # the last block grows at its end, the others at their beginning
            first, grows = place == places[0], place == places[-1 if block == 5 else 0]
            inputs = before if first or block == 5 else after
            outputs = after if grows or block != 5 else before
            shapes[f"block{block}.rep.{place}.conv1.weight"] = (inputs, 1, 3, 3)
            shapes[f"block{block}.rep.{place}.pointwise.weight"] = (outputs, inputs, 1, 1)
            shapes |= norms((f"block{block}.rep.{place + 1}", outputs))
        if halves:
            shapes[f"block{block}.skip.weight"] = (after, before, 1, 1)
            shapes |= norms((f"block{block}.skipbn", after))
    for name, inputs, outputs in (("conv3", 18, 20), ("conv4", 20, 24)):
        shapes |= {
            f"{name}.conv1.weight": (inputs, 1, 3, 3),
            f"{name}.pointwise.weight": (outputs, inputs, 1, 1),
        }
    unused = {"adjust_channel.0.weight": torch.zeros(5, 24, 1, 1), "adjust_channel.0.bias": torch.zeros(5)}
    return named("backbone.", {**settled(weights(shapes)), **unused, **named("last_linear.", linear(2, 24))})


def efficientnet() -> State:
    """Seven stages of one block, the first of two: widths 6 to 18."""
    shapes: dict[str, tuple[int, ...]] = {
        "_conv_stem.weight": (6, 3, 3, 3),
        "_conv_head.weight": (20, 18, 1, 1),
    }
    shapes |= norms(("_bn0", 6), ("_bn1", 20))
    widths, kernels = (6, 4, 4, 6, 8, 10, 12, 14, 18), (3, 3, 3, 5, 3, 5, 5, 3)
    for block, kernel in enumerate(kernels):
        inputs, outputs, at = widths[block], widths[block + 1], f"_blocks.{block}"
        wide = inputs if block < 2 else 3 * inputs
        if wide != inputs:
            shapes[f"{at}._expand_conv.weight"] = (wide, inputs, 1, 1)
            shapes |= norms((f"{at}._bn0", wide))
        shapes |= {
            f"{at}._depthwise_conv.weight": (wide, 1, kernel, kernel),
            f"{at}._se_reduce.weight": (2, wide, 1, 1),
            f"{at}._se_reduce.bias": (2,),
            f"{at}._se_expand.weight": (wide, 2, 1, 1),
            f"{at}._se_expand.bias": (wide,),
            f"{at}._project_conv.weight": (outputs, wide, 1, 1),
            **norms((f"{at}._bn1", wide), (f"{at}._bn2", outputs)),
        }
    net = named("efficientnet.", settled(weights(shapes)))
    return named("backbone.", {**net, **named("last_layer.", linear(2, 20))})


def gend() -> State:
    """GenD on a Perception Encoder, trained at 32 pixels; timm's bias of the patches is not there."""
    shapes: dict[str, tuple[int, ...]] = {"attn_pool.latent": (1, 1, 64)}
    sizes = {"attn_pool.q": (64, 64), "attn_pool.kv": (128, 64), "attn_pool.proj": (64, 64)}
    sizes |= {
        "attn_pool.mlp.fc1": (96, 64),
        "attn_pool.mlp.fc2": (64, 96),
        "norm_pre": (64,),
        "attn_pool.norm": (64,),
    }
    for name, size in sizes.items():
        shapes |= {f"{name}.weight": size, f"{name}.bias": size[:1]}
    tower = {**timm_vit(), **weights(shapes, 5)}
    del tower["patch_embed.proj.bias"]
    return {**named("feature_extractor.backbone.", tower), **named("model.linear.", linear(2, 64))}


def rine_head(layers: int = 2, width: int = 64, p: int = 8) -> State:
    """Two layers in each projection, numbered as the published Sequentials with their dropout."""
    shapes: dict[str, tuple[int, ...]] = {"alpha": (1, layers, p)}
    for name, inputs in {
        "proj1.1": width,
        "proj1.4": p,
        "proj2.1": p,
        "proj2.4": p,
        "head.0": p,
        "head.3": p,
    }.items():
        shapes |= {f"{name}.weight": (p, inputs), f"{name}.bias": (p,)}
    loud = {name: 4 * tensor for name, tensor in weights(shapes, 7).items()}
    return {**loud, **named("head.6.", linear(1, p))}


def rine() -> State:
    return {**rine_head(), **named("clip.visual.", openai_names(tiny.clip_tower().state_dict()))}


def rine_logits(state: State, x: Tensor) -> Tensor:
    return plain.rine(state, tiny.clip_tower().state_dict(), x)


# checkpoint, the logits of the published forward pass, what its YAML has to say
LAYOUTS: dict[str, tuple[Callable[[], State], Callable[[State, Tensor], Tensor], list[str]]] = {
    "c2p_clip": (c2p_clip, plain.c2p_clip, []),
    "rine": (rine, rine_logits, []),
    "uia_vit": (uia_vit, plain.uia_vit, []),
    "xception": (xception, plain.xception, ["resolution: 76"]),
    "efficientnetb4": (efficientnet, plain.efficientnet, ["resolution: 76"]),
    "gend": (gend, plain.gend_perception_encoder, ["head: LinearNorm", "resolution: 32"]),
    "community_forensics": (community_forensics, plain.community_forensics, ["resize_to: 37"]),
}
pytestmark = pytest.mark.filterwarnings("ignore:.*reads the class token of every layer")
every_layout = pytest.mark.parametrize("name", LAYOUTS)


def pixels(name: str, images: int) -> Tensor:
    return tiny.pixels(images, size=76 if name in ("xception", "efficientnetb4") else 32)


def expected(name: str, state: State, x: Tensor) -> Tensor:
    logits = LAYOUTS[name][1](state, x)
    return torch.cat([-logits / 2, logits / 2], 1) if logits.shape[1] == 1 else logits


def load(folder: Path, name: str, state: dict[str, Any], *lines: str) -> Classifier:
    return xai.load(write(folder, state, *LAYOUTS[name][2], *lines))


@every_layout
def test_logits_are_those_of_the_published_forward_pass(tmp_path, name):
    state, x = LAYOUTS[name][0](), pixels(name, 3)
    classifier = load(tmp_path, name, state)
    with torch.no_grad():
        wanted, got = expected(name, state, x), classifier(x)
    assert (got - wanted).abs().max() <= 1e-5 * max(1.0, float(wanted.abs().max()))
    assert (wanted[0] - wanted[1]).abs().max() > 1e-2
    assert classifier.labels == ("real", "fake")
    assert classifier.describe()["family"] == name
    assert not classifier.module.training


@every_layout
@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"state_dict": named("module.", state), "epoch": 3},
        lambda state: {"model": named("net.", state), "optimizer": {"state": {}, "param_groups": []}},
        lambda state: {"model_state_dict": named("_orig_mod.module.detector.", state)},
    ],
    ids=["state_dict+module.", "model+net.", "compiled+module.+detector."],
)
def test_wrapped_checkpoints(tmp_path, name, wrap):
    state, x = LAYOUTS[name][0](), pixels(name, 1)
    classifier = load(tmp_path, name, wrap(state))
    with torch.no_grad():
        torch.testing.assert_close(classifier(x), expected(name, state, x), rtol=1e-4, atol=1e-5)


@every_layout
def test_further_heads_are_named_and_can_be_ignored(tmp_path, name):
    state = LAYOUTS[name][0]()
    more = {**state, "contrastive.weight": torch.zeros(8, 8), "contrastive.bias": torch.zeros(8)}
    with pytest.raises(ModelError, match=rf"{name} does not know: contrastive\.bias[\s\S]*ignore_keys"):
        load(tmp_path, name, more)
    assert load(tmp_path, name, more, "ignore_keys: [contrastive.]").describe()["family"] == name


@every_layout
def test_the_default_explanation_and_a_deletion_curve(tmp_path, name):
    classifier, x = load(tmp_path, name, LAYOUTS[name][0]()), pixels(name, 2)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The classifier reads patch tokens directly")
        relevance = choose_method(classifier).attribute_patches(x, 1)
    assert relevance.shape == (2, classifier.grid.rows, classifier.grid.cols)
    assert (relevance[0] - relevance[1]).abs().max() > 0
    curve = metrics.deletion(classifier, x, relevance, 1, metrics.protocol("vit-mean").replace(steps=4))
    assert curve.values.shape == (2, 5)
    real, fake = classifier(x).detach().T
    assert curve.clean.tolist() == pytest.approx((fake - real).tolist(), rel=1e-4)


def test_every_family_says_where_it_comes_from():
    for family in list_families():
        assert family.source
        assert family.summary.endswith(".")
        assert (family.build is None) == bool(family.refused)


@pytest.mark.parametrize(
    ("line", "state"),
    [
        ("model_name: tall", {"x.weight": torch.zeros(2, 2)}),
        (
            "",
            {
                "model.head.weight": torch.zeros(2, 8),
                "model.layers.0.blocks.0.attn.relative_position_bias_table": torch.zeros(9, 2),
            },
        ),
        (
            "",
            {f"attention_head.{name}.weight": torch.zeros(2, 2) for name in ("query", "key", "value", "fc")},
        ),
        ("", {"module.mfvit.vit.norm.bias": torch.zeros(2), "module.patch_aggregator": torch.zeros(1, 2)}),
        (
            "model_name: fatformer",
            {
                "language_guided_alignment.ctx": torch.zeros(2, 2),
                "text_guided_interactor.in_proj_bias": torch.zeros(2),
            },
        ),
    ],
    ids=["tall by name", "tall", "d3", "spai", "fatformer"],
)
def test_what_is_not_rebuilt_is_refused_by_name(tmp_path, line, state):
    with pytest.raises(
        ModelError, match=r"(tall|d3|spai|fatformer) \(github.*not rebuilt here: it [\s\S]*factory"
    ):
        xai.load(write(tmp_path, state, line))


CONFIGS = Path(__file__).parents[2] / "configs"


def at_size(state: State, rows: int, patch: int) -> State:
    """The same with a grid of so many rows and patches of that side."""
    state = dict(state)
    position = next(n for n in state if "pos_embed" in n or "position" in n)
    shape = state[position].shape
    state[position] = torch.randn(*shape[:-2], 1 + rows**2, shape[-1]) * 0.2
    kernel = next(n for n in state if state[n].ndim == 4)
    state[kernel] = torch.randn(*state[kernel].shape[:2], patch, patch) * 0.05
    return state


# grid and patch of what the shipped file is for, None where any size is taken
SHIPPED = {
    "c2p_clip": (16, 14),
    "community_forensics": (24, 16),
    "rine": (16, 14),
    "uia_vit": (14, 16),
    "xception": None,
    "efficientnetb4": None,
}


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_file_says_what_was_published(tmp_path, name):
    """With it and without, images are prepared alike."""
    state = LAYOUTS[name][0]()
    state = state if SHIPPED[name] is None else at_size(state, *SHIPPED[name])
    torch.save(state, tmp_path / "weights.pth")
    with_file = xai.load(CONFIGS / f"{name}.yaml", weights=tmp_path / "weights.pth")
    (tmp_path / "bare.yaml").write_text(f"model_name: {name}\nweights: weights.pth\n")
    assert with_file.preprocessing == xai.load(tmp_path / "bare.yaml").preprocessing


def test_c2p_clip_is_prepared_as_published(tmp_path):
    described = load(tmp_path, "c2p_clip", c2p_clip()).describe()
    assert (described["feature"], described["normalize_features"]) == ("projected", True)
    prepared = described["preprocessing"]
    assert (prepared["resize"], prepared["crop"]) == ({"shortest_edge": 32}, [32, 32])
    assert (prepared["interpolation"], prepared["mean"][0]) == ("bilinear", 0.48145466)


@pytest.mark.parametrize(("rows", "side", "edge"), [(14, 224, 256), (24, 384, 440)])
def test_community_forensics_is_prepared_as_published(tmp_path, rows, side, edge):
    state = at_size(community_forensics(), rows, 16)
    prepared = xai.load(write(tmp_path, state)).describe()["preprocessing"]
    assert (prepared["resize"], prepared["crop"]) == ({"shortest_edge": edge}, [side, side])
    assert (prepared["interpolation"], prepared["mean"]) == ("bilinear", [0.485, 0.456, 0.406])


def test_community_forensics_of_another_size_asks_how_it_is_resized(tmp_path):
    with pytest.raises(ConfigError, match="resize_to"):
        xai.load(write(tmp_path, community_forensics()))


def test_another_vit_of_timm_is_no_community_forensics(tmp_path):
    state = named("vit.", {**timm_vit(), **named("head.", linear(3, 64))})
    with pytest.raises(ModelError, match=r"one logit; this one has 3[\s\S]*timm:local-dir"):
        xai.load(write(tmp_path, state, "resize_to: 37"))


class Mixin(nn.Module, PyTorchModelHubMixin):
    """As the published class: its arguments are what the mixin writes."""

    def __init__(
        self, model_size="small", input_size=384, patch_size=16, freeze_backbone=False, device="cpu"
    ):
        super().__init__()
        self.vit = nn.Module()
        self.vit.head = nn.Linear(64, 1)


def test_a_folder_that_the_hub_mixin_wrote(tmp_path):
    Mixin(device="cuda", input_size=224, patch_size=16).save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    assert written == {
        "device": "cuda",
        "freeze_backbone": False,
        "input_size": 224,
        "model_size": "small",
        "patch_size": 16,
    }
    state = at_size(community_forensics(), 14, 16)
    save_file(state, tmp_path / "model.safetensors")
    classifier, x = xai.load(f"local:{tmp_path}"), tiny.pixels(1, size=224)
    with torch.no_grad():
        torch.testing.assert_close(
            classifier(x), expected("community_forensics", state, x), atol=1e-5, rtol=1e-4
        )
    assert classifier.preprocessing.shortest_edge == 256
    (tmp_path / "config.json").write_text(json.dumps(written | {"input_size": 384}))
    with pytest.raises(ConfigError, match="resolution: 384, but the tower takes 224×224"):
        xai.load(f"local:{tmp_path}")


@pytest.mark.parametrize("width", [24, 64], ids=["projected", "penultimate"])
@pytest.mark.parametrize("whole", [False, True], ids=["head alone", "with its tower"])
def test_universalfakedetect_reads_the_feature_that_its_head_is_wide(tmp_path, width, whole):
    model, head, x = tiny.clip_model(), linear(1, width), tiny.pixels()
    lines = ["model_name: universalfakedetect"]
    if whole:
        visual = openai_names(model.vision_model.state_dict())
        visual["proj"] = model.visual_projection.weight.T
        text = {"token_embedding.weight": torch.zeros(5, 4), "logit_scale": torch.zeros(())}
        state = {**named("model.visual.", visual), **named("model.", text), **named("fc.", head)}
        content: dict[str, Any] = {
            "model": state,
            "optimizer": {"state": {}, "param_groups": []},
            "total_steps": 9,
        }
    else:
        tiny.save_pretrained(tmp_path / "tower", model)
        content = dict(head)
        lines.append("backbone: local:tower")
    classifier = xai.load(write(tmp_path, content, *lines))
    pooled = plain.clip_pooled(model.vision_model.state_dict(), x)
    feature = pooled if width == 64 else pooled @ model.visual_projection.weight.T
    with torch.no_grad():
        z = feature @ head["weight"].T + head["bias"]
        assert (classifier(x) - torch.cat([-z / 2, z / 2], 1)).abs().max() <= 1e-5 * max(
            1.0, float(z.abs().max())
        )
    assert classifier.describe()["feature"] == ("pooled" if width == 64 else "projected")
    assert classifier.preprocessing.crop == (32, 32)


def test_a_head_that_fits_neither_feature(tmp_path):
    tiny.save_pretrained(tmp_path / "tower", tiny.clip_model())
    with pytest.raises(ModelError, match=r"reads 30 features; the tower gives 24 \(projected\) or 64"):
        xai.load(write(tmp_path, linear(1, 30), "backbone: local:tower"))


def test_rine_reads_every_layer_and_says_so(tmp_path):
    tiny.save_pretrained(tmp_path / "tower", tiny.clip_model())
    with pytest.warns(UserWarning, match="reads the class token of every layer.*all_layers"):
        classifier = xai.load(write(tmp_path, rine_head(), "backbone: local:tower"))
    x = tiny.pixels(3)
    wanted = plain.rine(rine_head(), tiny.clip_model().vision_model.state_dict(), x)
    with torch.no_grad():
        torch.testing.assert_close(
            classifier(x), torch.cat([-wanted / 2, wanted / 2], 1), rtol=1e-5, atol=1e-5
        )
    findings = examine(classifier)
    assert findings["read_in"].startswith("every layer")
    assert findings["attention_seen"] == "2 of 2"
    assert max(findings["parity"].values()) < 1e-5
    assert classifier.preprocessing.crop == (32, 32)
    assert classifier.preprocessing.size is None


def test_rine_is_explained_through_its_first_layers_too(tmp_path):
    """The head reads the first layer past the last one; what looks at the last block's output is refused."""
    classifier, x = load(tmp_path, "rine", rine()), tiny.pixels(1)
    maps = create("gradient_weighted_attention", classifier).attribute_layers(x, 1)[0]
    assert maps.shape[0] == 2
    assert (maps.abs().amax((1, 2, 3)) > 0).all()
    with pytest.raises(ModelError, match="whose last one returns all that the classifier reads"):
        create("legrad", classifier).attribute_patches(x, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (rine_head(layers=3), r"weights the layers by alpha \(1, 3, 8\); the tower has 2"),
        (rine_head(width=32), "head reads 32 features; the tower or the layer before gives 64"),
        ({**rine_head(), "alpha": torch.zeros(1, 2, 9)}, "reads 8 features; .* gives 9"),
        (
            {**rine_head(), "proj1.7.weight": torch.zeros(5, 8)},
            "weights 8 features of each layer, but .* make 5, 8",
        ),
    ],
    ids=["other depth", "other width", "other features", "odd projection"],
)
def test_a_head_of_rine_for_another_tower(tmp_path, change, message):
    tiny.save_pretrained(tmp_path / "tower", tiny.clip_model())
    with pytest.raises(ModelError, match=message):
        xai.load(write(tmp_path, change, "backbone: local:tower"))


def test_rine_needs_its_tower(tmp_path):
    with pytest.raises(ConfigError, match="backbone: local:DIR"):
        xai.load(write(tmp_path, rine_head()))


def test_uia_vit_reads_patches_so_that_they_cannot_be_masked(tmp_path):
    classifier, x = load(tmp_path, "uia_vit", uia_vit()), tiny.pixels(1)
    with pytest.warns(UserWarning, match="reads patch tokens directly, not through attention alone"):
        relevance = create("integrated_mask_gradient", classifier, n_steps=2).attribute_patches(x, 1)
    with pytest.raises(
        ModelError, match=r"cannot be removed by masking: the classifier reads[\s\S]*vit-mean"
    ):
        metrics.deletion(classifier, x, relevance, 1, metrics.protocol("vit-token"))
    found = diagnose(classifier, x)
    assert len(found.heads) == 9
    assert max(found.attention_error, found.gradient_error, found.logit_error) < 1e-5
    assert classifier.preprocessing.size == (32, 32)
    assert classifier.preprocessing.mean == (0.5, 0.5, 0.5)


def test_uia_vit_of_too_few_layers(tmp_path):
    with pytest.raises(ModelError, match="from the 8th on; this tower has 7"):
        xai.load(write(tmp_path, uia_vit(7)))


@pytest.mark.parametrize("name", ["xception", "efficientnetb4"])
def test_feature_maps_are_explained_by_cams_and_gradients(tmp_path, name):
    classifier, x = load(tmp_path, name, LAYOUTS[name][0]()), pixels(name, 1)
    assert choose_method(classifier).info.name == "integrated_gradients"
    for method in ("grad_cam", "layer_cam"):
        maps = create(method, classifier).attribute_targets(x, [0, 1])  # a clamped one may be blank for one
        assert maps.abs().max() > 0
    with pytest.raises(ModelError, match="no attention"):
        create("gradient_weighted_attention", classifier).attribute_patches(x, 1)


@pytest.mark.parametrize("before", ["", "model."])
def test_xception_under_the_names_of_faceforensics(tmp_path, before):
    """Its Linear stands behind a dropout there, and batches were not counted yet."""
    state = {before + key.removeprefix("backbone."): value for key, value in xception().items()}
    state = {key.replace("last_linear.", "last_linear.1."): value for key, value in state.items()}
    state = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    classifier, x = load(tmp_path, "xception", state), pixels("xception", 2)
    with torch.no_grad():
        torch.testing.assert_close(classifier(x), plain.xception(xception(), x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("mode", ["shallow_xception", "adjust_channel"])
def test_another_mode_of_the_bench_is_refused(tmp_path, mode):
    with pytest.raises(ConfigError, match=rf"mode: {mode}, a variant[\s\S]*mode: original"):
        load(tmp_path, "xception", xception(), f"backbone_config: {{mode: {mode}, num_classes: 2}}")
    load(tmp_path, "xception", xception(), "backbone_config: {mode: Original, inc: 3, dropout: false}")


@pytest.mark.parametrize(
    ("name", "key", "value", "message"),
    [
        (
            "xception",
            "backbone.last_linear.weight",
            torch.zeros(2, 23),
            "head reads 23 features; .* gives 24",
        ),
        ("xception", "backbone.block3.skipbn.bias", None, r"fit an Xception: missing: block3\.skipbn\.bias"),
        ("xception", "backbone.block2.rep.1.pointwise.weight", torch.zeros(12, 8), "expected 4 dimensions"),
        ("xception", "backbone.block2.more", torch.zeros(3), "unexpected: block2.more"),
        (
            "efficientnetb4",
            "backbone.last_layer.weight",
            torch.zeros(2, 9),
            "head reads 9 features; .* gives 20",
        ),
        (
            "efficientnetb4",
            "backbone.efficientnet._blocks.3._bn1.bias",
            None,
            r"missing: _blocks\.3\._bn1\.bias",
        ),
        ("efficientnetb4", "backbone.efficientnet._blocks.12._bn1.bias", torch.zeros(3), "without a gap"),
        ("efficientnetb4", "backbone.efficientnet._fc.bias", torch.zeros(3), r"unexpected: _fc\.bias"),
    ],
)
def test_convolutions_that_do_not_fit(tmp_path, name, key, value, message):
    state = {**LAYOUTS[name][0](), key: value}
    with pytest.raises(ModelError, match=message):
        load(tmp_path, name, {k: v for k, v in state.items() if v is not None})


def test_gend_on_a_perception_encoder_is_pooled_by_attention(tmp_path):
    classifier, x = load(tmp_path, "gend", gend()), tiny.pixels(2)
    found = diagnose(classifier, x)
    assert (found.probe.readout, found.probe.layers) == ("pooling head", 3)
    assert max(found.attention_error, found.gradient_error, found.logit_error) < 1e-5
    relevance = create("integrated_mask_gradient", classifier, n_steps=2).attribute_patches(x, 1)
    metrics.deletion(classifier, x, relevance, 1, metrics.protocol("vit-token").replace(steps=4))


def test_gend_on_a_perception_encoder_takes_another_size_than_it_was_trained_at(tmp_path):
    """As GenD does: positions are resampled, and places of the rotary embedding scaled."""
    path = write(tmp_path, gend(), "head: LinearNorm", "resolution: 48")
    classifier, x = xai.load(path), tiny.pixels(2, size=48)
    with torch.no_grad():
        torch.testing.assert_close(
            classifier(x), plain.gend_perception_encoder(gend(), x), rtol=1e-4, atol=1e-5
        )
    assert (classifier.grid.rows, classifier.grid.cols, classifier.grid.prefix) == (6, 6, 1)
    (tmp_path / "bare.yaml").write_text("weights: weights.pth\nhead: linear\n")
    prepared = xai.load(tmp_path / "bare.yaml").describe()["preprocessing"]
    assert (prepared["resize"], prepared["crop"]) == ({"shortest_edge": 224}, [224, 224])
    assert (prepared["interpolation"], prepared["mean"]) == ("bicubic", [0.5, 0.5, 0.5])
