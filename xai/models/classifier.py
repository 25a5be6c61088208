"""The one shape in which every model is explained: pixels in, logits out, names and geometry known."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from PIL.Image import Image
from PIL.Image import new as new_image
from torch import Tensor, nn

from xai.attention import find_grid, is_traced, prefix_tokens
from xai.core import Geometry, ModelError, PatchGrid, ProblemType, UsageError, XaiError, find_problem_type
from xai.core.classes import read_labels
from xai.core.errors import first_line
from xai.core.explanation import GRID_HINT, parse_grid
from xai.core.runtime import is_out_of_memory
from xai.models.logits import read_logits
from xai.models.preprocessing import Preprocessing
from xai.models.tensors import check_module, fingerprint, mixed_types, weights_version
from xai.models.tuned_module import without_tuners

Grid = PatchGrid | tuple[int, int] | str
FAILURES = (RuntimeError, ValueError, AssertionError, IndexError, TypeError)
"""What libraries raise when an input does not fit."""


class Classifier(nn.Module):
    """An image classifier that answers pixels (B, 3, H, W) with logits (B, classes).

    A module with one logit z (a sigmoid head) becomes two classes with logits (−z/2, +z/2): the same
    probability and the same margin, and neither class's map is blank.

    `given_grid` is the grid that the caller gave, as it was given, None where none was.

    `problem_type` says what the logits mean: exactly one class is true (softmax), or each label by itself
    (sigmoid). It is read from the module's transformers configuration where that says it, see
    `xai.core.find_problem_type`. A regression head answers with a number and is refused.

    Args:
        module: What is wrapped; returns logits as a tensor or an output with `.logits`. Not changed.
        labels: Class names in the order of the logits.
        name: The spec it was loaded from.
        grid: Regions at the standard input size, or (rows, cols) alone, or both in words: "14x14+1",
            "14x14"; None finds a transformer's patches, and takes a default grid for other models.
        preprocessing: How an image becomes pixels; None if only tensors will be given.
        description: What the loader knows beyond the module (family, notes …), JSON-ready, for `describe`.
        problem_type: "single_label_classification" or "multi_label_classification", where the module does not
            say it, or says "regression" of one output that is a logit in fact.
        faces: "aligned" where it was trained on upright crops of faces.

    Raises:
        ModelError: When weights are quantised, offloaded, not initialised, NaN or infinite, or the head is a
            regression.
        UsageError: When labels repeat or are no names; `preprocessing` is none; `problem_type` is unknown or
            contradicts the module.
    """

    def __init__(
        self,
        module: nn.Module,
        labels: Sequence[str],
        *,
        name: str,
        grid: Grid | None = None,
        preprocessing: Preprocessing | None = None,
        description: Mapping[str, object] | None = None,
        problem_type: str | None = None,
        faces: Literal["aligned"] | None = None,
    ):
        super().__init__()
        if not isinstance(module, nn.Module):  # a function, such as torch.compile makes of a compiled module
            raise UsageError(f"A classifier wraps a torch.nn.Module; this is a {type(module).__name__}.")
        if not isinstance(preprocessing, Preprocessing | None):
            raise UsageError(
                f"preprocessing is a {type(preprocessing).__name__}; expected an xai.models.Preprocessing.",
                "It says what such a transform does, and where in the image the input lies: "
                "Preprocessing(size=(224, 224), mean=..., std=...), or shortest_edge=256, crop=(224, 224).",
            )
        self.module = module
        self.labels = read_labels(labels)
        self.name = name
        self.given_grid = parse_grid(grid) if isinstance(grid, str) else grid
        self.preprocessing = preprocessing
        self.faces = faces
        self._description = dict(description or {})
        self._fingerprint: tuple[object, str] | None = None
        self.training = module.training  # of the module; constructing must not look like a change of mode
        if len(set(self.labels)) != len(self.labels):
            raise UsageError(f"Class names must differ; got {', '.join(self.labels)}.")
        self.problem_type = (
            find_problem_type(module, name, len(self.labels), problem_type) or ProblemType.SINGLE_LABEL
        )
        check_module(module)

    def forward(self, pixels: Tensor, *args: Any) -> Tensor:
        """Logits (B, classes) of pixels (B, 3, H, W).

        Raises:
            ModelError: When the answer is no (B, classes) tensor, does not fit the labels, is not finite, or
                is a probability.
        """
        output = self._run(pixels.to(self.device, self.dtype), *args)
        logits = read_logits(output, len(pixels), self.name)
        if logits.shape[1] == 1:
            self._refuse_one_label()
            logits = torch.cat([-logits / 2, logits / 2], dim=1)
        if logits.shape[1] != len(self.labels):
            raise ModelError(
                f"{self.name} has {logits.shape[1]} classes but {len(self.labels)} labels: "
                f"{', '.join(self.labels)}.",
                "Give one label per class, in the order of the logits.",
            )
        return logits

    def _refuse_one_label(self) -> None:
        if self.problem_type.independent:
            raise ModelError(
                f"{self.name} answers with one logit, so no labels are independent of each other.",
                "Leave out problem_type: a single logit is read as its class against everything else.",
            )

    def _run(self, pixels: Tensor, *args: Any) -> Any:
        try:
            return self.module(pixels, *args)
        except XaiError:
            raise
        except FAILURES as error:
            known = reason_of(error, self.module, self.name, pixels)
            if known is None:
                raise
            raise known from error

    @cached_property
    def input_size(self) -> tuple[int, int] | None:
        """(height, width) of the standard input, None when nothing says it."""
        if self.preprocessing is not None and self.preprocessing.input_size is not None:
            return self.preprocessing.input_size
        return stated_size(self.module)

    @cached_property
    def grid(self) -> PatchGrid:
        """The regions that maps lie on, at the standard input size: see `xai.attention.find_grid`.

        Where the input's size depends on the image, it is that of a square image.

        Raises:
            ModelError: When neither a grid, the input size nor preprocessing is known.
        """
        if self.given_grid is not None:
            given = self.given_grid
            return given if isinstance(given, PatchGrid) else PatchGrid(*given, prefix_tokens(self.module))
        if self.input_size is not None:
            return find_grid(self, (3, *self.input_size))
        if self.preprocessing is None:
            raise ModelError(f"{self.name} does not say its input size.", f"Say a grid: {GRID_HINT}.")
        return find_grid(self, tuple(self.preprocess(new_image("RGB", (480, 480))).shape))

    def preprocess(self, image: Image) -> Tensor:
        """Turn an image into the model's input.

        Returns:
            (3, H, W) float32 on the CPU.
        """
        return self._require_preprocessing()(image)

    def geometry(self, size: tuple[int, int]) -> Geometry:
        """Where the model's input lies in an image of `size` (width, height)."""
        return self._require_preprocessing().geometry(size)

    def _require_preprocessing(self) -> Preprocessing:
        if self.preprocessing is None:
            raise UsageError(
                f"{self.name} came without preprocessing, so it takes tensors only.",
                "Say how an image becomes its input: xai.load(module, labels, preprocessing="
                "xai.models.Preprocessing(size=(224, 224), mean=..., std=...)); or load it from hf:, local: "
                "or a YAML file.",
            )
        return self.preprocessing

    @property
    def fingerprint(self) -> str:
        """sha256 (hex) of weights, configuration, structure, labels and preprocessing.

        Computed when first asked for, and again when weights were replaced or written to.
        """
        version = weights_version(self.module)
        if self._fingerprint is None or self._fingerprint[0] != version:
            content: tuple[object, ...] = (self.labels, self.preprocessing)
            if self.problem_type.independent:  # exclusive classes go without saying, as they always did
                content = (*content, self.problem_type.value)
            if self.preprocessing is not None and self.preprocessing.bgr:
                content = (*content, "bgr")
            if self.preprocessing is not None and (rarer := self.preprocessing.rarer_steps()):
                content = (*content, rarer)
            self._fingerprint = version, fingerprint(self.module, _config(self.module), *content)
        return self._fingerprint[1]

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next((p.device for p in self.module.parameters()), torch.device("cpu"))

    @property
    def dtype(self) -> torch.dtype:
        """Type of the floating-point parameters; inputs are cast to it."""
        return next((p.dtype for p in self.module.parameters() if p.is_floating_point()), torch.float32)

    def describe(self) -> dict[str, Any]:
        """What is known of the model, JSON-ready, as `xai doctor` prints it."""
        config = _config(self.module)
        return {
            "name": self.name,
            "family": type(self.module).__name__,
            "fingerprint": self.fingerprint,
            "labels": list(self.labels),
            "problem_type": self.problem_type.value,
            "grid": {"rows": self.grid.rows, "cols": self.grid.cols, "prefix": self.grid.prefix},
            "input_size": None if self.input_size is None else list(self.input_size),
            "hidden_act": config.get("hidden_act"),
            "heads": config.get("num_attention_heads"),
            "preprocessing": None if self.preprocessing is None else self.preprocessing.describe(),
            "dtype": str(self.dtype).removeprefix("torch."),
            "device": str(self.device),
            **({} if self.faces is None else {"faces": self.faces}),
            **({"dtypes": types} if (types := mixed_types(self.module)) else {}),
            **self._description,
        }


@dataclass(frozen=True)
class LoadOptions:
    """The arguments of `xai.load`, for what loads a model; `name`, the whole spec, is what it is called."""

    name: str
    labels: Sequence[str] | None = None
    grid: Grid | None = None
    weights: Path | None = None
    prompts: Sequence[str] | None = None
    problem_type: str | None = None
    trust_remote_code: bool = False
    trust_code: bool = False
    faces: Literal["aligned"] | None = None

    def classifier(
        self,
        module: nn.Module,
        labels: Sequence[str],
        preprocessing: Preprocessing | None = None,
        description: Mapping[str, object] | None = None,
    ) -> Classifier:
        """The module under its name, with the grid and problem type that were given.

        PEFT's layers in it are folded into a copy, see `without_tuners`.
        """
        # without PEFT no module has its layers
        plain, folded = without_tuners(module) if "peft" in sys.modules else (module, {})
        return Classifier(
            plain,
            labels,
            name=self.name,
            grid=self.grid,
            preprocessing=preprocessing,
            description={**(description or {}), **folded},
            problem_type=self.problem_type,
            faces=self.faces,
        )


def _config(module: nn.Module) -> dict[str, Any]:
    """Configuration of the vision transformer inside, {} if there is none."""
    for inner in module.modules():
        config = getattr(inner, "config", None)
        config: Any = getattr(config, "vision_config", config)
        if hasattr(config, "num_attention_heads") and hasattr(config, "to_dict"):
            return config.to_dict()
    return {}


def reason_of(error: Exception, module: nn.Module, name: str, pixels: Tensor) -> ModelError | None:
    """The error to raise instead, None where nothing more is known than what was raised.

    Args:
        error: One of FAILURES, raised by `module(pixels)`.
        module: What ran.
        name: What people call it.
        pixels: (B, 3, H, W) what it was given.
    """
    if is_out_of_memory(error):
        return None
    if "dtype" in str(error) and (types := mixed_types(module)):
        counts = ", ".join(f"{count} parameters in {kind}" for kind, count in types.items())
        return ModelError(
            f"{name} mixes floating-point types, which torch does not: {counts}.",
            'Load it in one: dtype="float32"/--dtype float32.',
        )
    if is_traced(module):
        return ModelError(
            f"{name} is an exported or traced graph, which failed on pixels of shape "
            f"{tuple(pixels.shape)}: {first_line(error)}",
            "Export it with a batch of any size, or give the module that it was made from.",
        )
    if "channel" in str(error):
        return ModelError(
            f"{name} does not take the {pixels.shape[1]} channels that it was given: {first_line(error)}",
            "Images are given to a model in 3, RGB. Put a module before it that makes of them what it takes: "
            "of grey, pixels.mean(1, keepdim=True).",
        )
    built, given = stated_size(module), tuple(pixels.shape[-2:])
    if built is not None and built != given:
        return ModelError(
            f"{name} was built for {built[0]}×{built[1]} pixels and does not take the {given[0]}×{given[1]} "
            f"(height × width) that it was given: {first_line(error)}",
            "Its preprocessing must give the size it was built for: mend size or crop_size in its "
            "preprocessor_config.json, resolution or resize in its YAML file, or the tensors.",
        )
    return None


def stated_size(module: nn.Module) -> tuple[int, int] | None:
    """(height, width) of the input that a module says it was built for, None if it does not."""
    for inner in module.modules():
        config = getattr(inner, "config", None)
        # transformers says it in the configuration, torchvision, open_clip and timm on the module
        stated = getattr(config, "vision_config", config) or inner
        size = getattr(stated, "image_size", None) or getattr(stated, "img_size", None)
        if isinstance(size, int):
            return size, size
        if isinstance(size, tuple | list):
            return size[0], size[1]
    return None
