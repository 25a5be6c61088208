"""Published detectors as data: by which keys each is told, and what rebuilds it."""

from collections.abc import Callable
from dataclasses import dataclass

from xai.models.b_free import b_free
from xai.models.checkpoint import State
from xai.models.detector import Detector, DetectorConfig
from xai.models.efficientnet import build_efficientnet
from xai.models.rebuilding import (
    c2p_clip,
    community_forensics,
    feature_map,
    gend,
    pooled,
    prompts,
    rine,
    rine_whole,
    uia_vit,
    universal_fake_detect,
    universal_fake_detect_whole,
)
from xai.models.xception import build_xception

Build = Callable[[list[State], DetectorConfig], Detector]

# what OpenAI's CLIP holds beside its image tower
_OPENAI_TEXT = (
    "transformer.", "token_embedding.", "positional_embedding", "ln_final.", "text_projection", "logit_scale",
    "input_resolution", "context_length", "vocab_size",
)  # fmt: skip


def _text_of(clip: str) -> tuple[str, ...]:
    return tuple(clip + name for name in _OPENAI_TEXT)


@dataclass(frozen=True)
class Family:
    """A detector layout.

    Args:
        name: As in `model_name`.
        source: Where it was published.
        summary: What it is, in a line.
        parts: Key prefixes that must all be there; a key belongs to the first that it begins with.
        build: Rebuilds it: weights of each part → detector. None where it is not rebuilt here: then
            `refused` says why.
        marks: Further key prefixes that must be there.
        alone: Whether no other keys may be there.
        folded: What folding must have found …
        not_folded: … and must not have found.
        unused: Key prefixes that its forward pass does not use.
        refused: Why it is not rebuilt here.
    """

    name: str
    source: str
    summary: str
    parts: tuple[str, ...]
    build: Build | None
    marks: tuple[str, ...] = ()
    alone: bool = False
    folded: str | None = None
    not_folded: str | None = None
    unused: tuple[str, ...] = ()
    refused: str = ""


_BENCH = "github.com/SCLBD/DeepfakeBench"
_GEND = "github.com/yermandy/GenD (arXiv 2508.06248)"
_RINE = "github.com/mever-team/rine (ECCV 2024, arXiv 2402.19091)"
_ENHANCED = "a fork of github.com/SCLBD/DeepfakeBench"
_UFD = "github.com/WisconsinAIVision/UniversalFakeDetect (CVPR 2023)"

_CLIP_OF_FRAMES = (
    "it reads a clip of {} frames at once and attends {}; an input here is one image, and a map lies on one."
)

# in this order: the first whose keys are all there, of those that the YAML's model_name allows
FAMILIES = (
    # before clip, whose two parts they have too
    Family(
        "timetransformer",
        _BENCH,
        "TimeSformer on 8 frames of a video, class token, Linear.",
        ("backbone.", "head."),
        None,
        marks=("backbone.embeddings.time_embeddings", "backbone.encoder.layer.0.temporal_attention."),
        refused=_CLIP_OF_FRAMES.format(8, "over frames and over patches in turns"),
    ),
    Family(
        "videomae",
        _BENCH,
        "VideoMAE on 16 frames of a video, mean of its tokens, Linear.",
        ("backbone.", "fc_norm.", "head."),
        None,
        marks=("backbone.encoder.layer.0.attention.attention.q_bias",),
        refused=_CLIP_OF_FRAMES.format(16, "over tubes of two frames"),
    ),
    Family(
        "xclip",
        _BENCH,
        "X-CLIP's image tower on 32 frames of a video, mean over frames, Linear.",
        ("backbone.", "fc_norm.", "head."),
        None,
        marks=("backbone.vision_model.encoder.layers.0.message_fc.",),
        refused=_CLIP_OF_FRAMES.format(32, "over messages between them"),
    ),
    Family(
        "effort",
        f"{_BENCH} (arXiv 2411.15633)",
        "CLIP ViT-L/14 with residual-SVD attention weights, pooled feature, Linear.",
        ("backbone.", "head."),
        pooled(normalize=False),
        folded="residual_svd",
    ),
    Family(
        "clip",
        _BENCH,
        "CLIP ViT-B/16, pooled feature, Linear.",
        ("backbone.", "head."),
        pooled(normalize=False),
        not_folded="residual_svd",
    ),
    Family(
        "clip_enhanced",
        _ENHANCED,
        "CLIP with tuned layer norms; classes are two texts.",
        ("vision_encoder.", "text_encoder.", "projection.", "ctx"),
        prompts,
    ),
    Family(
        "clip_enhanced",
        _ENHANCED,
        "CLIP with tuned layer norms, feature at unit length, Linear or MLP.",
        ("feature_extractor.", "model.linear."),
        pooled(normalize=True),
        folded="peft",
    ),
    Family(
        "gend",
        _GEND,
        "CLIP, DINOv2, DINOv3 or Perception Encoder with tuned layer norms, linear probe.",
        ("feature_extractor.", "model.linear."),
        gend,
        unused=("feature_extractor.visual_projection.",),
    ),
    Family(
        "c2p_clip",
        "github.com/chuangchuangtan/C2P-CLIP-DeepfakeDetection (AAAI 2025, arXiv 2408.09647)",
        "CLIP ViT-L/14, projected feature at unit length, one logit.",
        ("vision_model.", "visual_projection.", "fc."),
        c2p_clip,
        unused=("text_model.", "text_projection.", "logit_scale"),
    ),
    Family(
        "universalfakedetect",
        _UFD,
        "A head on a stock CLIP ViT-L/14, its projected or penultimate feature, one logit.",
        ("fc.",),
        universal_fake_detect,
        alone=True,
    ),
    Family(
        "universalfakedetect",
        _UFD,
        "The same saved with its tower, as its training script does.",
        ("model.visual.", "fc."),
        universal_fake_detect_whole,
        unused=_text_of("model."),
    ),
    Family(
        "community_forensics",
        "github.com/JeongsooP/Community-Forensics (CVPR 2025, arXiv 2411.04125)",
        "timm's ViT-S/16 at 384 or 224 pixels, class token, one logit.",
        ("vit.head.", "vit."),
        community_forensics,
        marks=("vit.blocks.", "vit.patch_embed."),
    ),
    Family(
        "rine",
        _RINE,
        "A head on every layer's class token of a stock CLIP ViT-L/14, one logit.",
        ("alpha", "proj1.", "proj2.", "head."),
        rine,
        alone=True,
    ),
    Family(
        "rine",
        _RINE,
        "The same saved with its tower.",
        ("alpha", "proj1.", "proj2.", "head.", "clip.visual."),
        rine_whole,
        unused=_text_of("clip."),
    ),
    Family(
        "uia_vit",
        f"{_BENCH} (ECCV 2022, arXiv 2210.12752)",
        "timm's ViT-B/16, class token joined with attention-weighted patches, Linear.",
        ("head.", ""),
        uia_vit,
        marks=("c_cross", "blocks.", "norm."),
        unused=("c_real", "c_fake", "c_cross", "norm_middle."),
    ),
    Family(
        "xception",
        f"{_BENCH}, FaceForensics++ (arXiv 1901.08971)",
        "Xception, mean of its last feature map, Linear.",
        ("last_linear.", ""),
        feature_map(build_xception),
        marks=("block1.rep.", "conv4.pointwise."),
        unused=("adjust_channel.",),
    ),
    Family(
        "efficientnetb4",
        _BENCH,
        "EfficientNet-B4, mean of its last feature map, Linear.",
        ("last_layer.", "efficientnet."),
        feature_map(build_efficientnet),
        marks=("efficientnet._conv_stem.", "efficientnet._blocks."),
    ),
    Family(
        "b_free",
        "github.com/grip-unina/B-Free (CVPR 2025, arXiv 2412.17671)",
        "timm's DINOv2 ViT-B/14 with registers on five 504-pixel crops of the image, mean of one logit.",
        ("head.", ""),
        b_free,
        marks=("reg_token", "patch_embed.", "blocks.0.ls1.gamma"),
    ),
    Family(
        "fatformer",
        "github.com/Michel-liu/FatFormer (CVPR 2024)",
        "CLIP with adapters, wavelets and prompts for each image.",
        ("language_guided_alignment.", "text_guided_interactor."),
        None,
        refused="it runs CLIP's text tower for every image, on prompts that the image's patches write, and "
        "has adapters with wavelets in both towers.",
    ),
    Family(
        "spai",
        "github.com/mever-team/spai (CVPR 2025)",
        "A ViT on three spectral versions of every window of an image of any size.",
        ("mfvit.", "patch_aggregator"),
        None,
        refused="it runs its ViT on three filtered versions of every 224-pixel window and attends over "
        "windows; its patches lie in no one grid over the image.",
    ),
    Family(
        "d3",
        "github.com/BigAandSmallq/D3 (CVPR 2025)",
        "CLIP on the image and on copies with shuffled patches, attention over the copies.",
        ("attention_head.",),
        None,
        marks=("attention_head.query.", "attention_head.key.", "attention_head.fc."),
        refused="it shuffles patches at random in every pass, so it answers otherwise each time, and its "
        "copies do not lie as the image does.",
    ),
    Family(
        "tall",
        f"{_BENCH} (ICCV 2023)",
        "A Swin on a thumbnail of four frames.",
        ("head.", "layers."),
        None,
        marks=("layers.0.blocks.0.attn.relative_position_bias_table",),
        refused="it reads four frames of a video, laid side by side into one picture, by a Swin of its own.",
    ),
)
