"""Samples in, explanations out: in batches, each as large as the memory allows."""

import gc
import inspect
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any
from weakref import WeakSet

import numpy as np
import torch
from PIL.Image import Image, fromarray
from torch import Tensor

from xai import attr
from xai.attention import grid_of, last_token_norms
from xai.attention.running import without_graph
from xai.core import DataError, Explanation, ModelError, Sample
from xai.core.runtime import is_out_of_memory
from xai.core.target import Target
from xai.explanation.arguments import Targets, Wanted, check_arguments, check_method
from xai.explanation.inputs import Failure, ModelInput, forget_frames, prepare
from xai.models import Classifier
from xai.report.words import face_named

log = logging.getLogger(__name__)
MANY_PASSES = 100  # of a method, beside which two more, for what its map should sum to, are little
_LOGITS: WeakSet[torch.nn.Module] = WeakSet()  # classifiers whose graph did not end in a probability
HELD_PIXELS = 100_000_000  # of original images in one batch: 300 MB, and again of the batch being written


class OutOfMemoryError(ModelError):
    """Even one image does not fit into memory."""


class Explainer:
    """One classifier, one method, one choice of targets.

    Args:
        classifier: What is explained.
        method: Registry name of an attribution, a preset's name, a subclass of `PatchAttribution`, or
            `package.module:Class`, which is imported; None: see `choose_method`.
        target: See `Targets.parse`.
        batch_size: Most images at once; halved for the rest of the run when memory runs out.
        seed: Of methods that draw random numbers.
        options: The method's own.

    Raises:
        UsageError: An unknown method, option or target.
    """

    def __init__(
        self,
        classifier: Classifier,
        method: str | type[attr.PatchAttribution] | None = None,
        target: Wanted = None,
        *,
        batch_size: int = 8,
        seed: int = 0,
        **options: Any,
    ):
        check_arguments(batch_size=batch_size, seed=seed)
        self.classifier = classifier
        self.targets = Targets.parse(target, classifier.labels, classifier.problem_type)
        self.batch_size = batch_size
        self.seed = seed
        if method is None:
            self.method = choose_method(classifier, options, seed)
        else:
            self.method = _create(classifier, check_method(method), options, seed)
        self.method_name = self.method.info.name
        self.options = options_of(self.method)
        self.preset = attr.preset_of(self.method_name, self.options)
        if self.preset is not None and (caution := attr.PRESETS[self.preset].caution):
            log.warning("Preset %s: %s", self.preset, caution)
        self.model_description = classifier.describe()
        self._answered = False

    def explain(self, samples: Iterable[Sample | Failure]) -> Iterator[Explanation | Failure]:
        """Explain samples in order, failures handed through; at most one batch of images is held at a time.

        Raises:
            ModelError: The model cannot be explained: already the first image that reached it failed.
        """
        batch: list[ModelInput] = []
        for sample in samples:
            model_input = self._try_prepare(sample)
            if batch and (isinstance(model_input, Failure) or not self._fits(batch, model_input)):
                yield from self._explain_batch(batch)
                batch = []
            if isinstance(model_input, Failure):
                yield model_input
            else:
                batch.append(model_input)
        if batch:
            yield from self._explain_batch(batch)

    def prepare(self, sample: Sample) -> ModelInput:
        """Cut out the sample's box, if it has one, and preprocess it.

        Raises:
            DataError: The preprocessing cannot take this image.
        """
        return prepare(self.classifier, sample)

    def layer_maps(self, explanation: Explanation, name: str) -> Tensor:
        """Maps of all layers and heads before any fusion, of one image and target, signed, on the CPU.

        Returns:
            (layers, heads, rows, cols), as `PatchAttribution.attribute_layers` gives them.

        Raises:
            UsageError: The method has no such maps, or its layers have unlike numbers of heads.
            OutOfMemoryError: All layers of one image do not fit into memory.
        """
        return attr.stack_layers(self.each_layer_map(explanation, name))

    def each_layer_map(self, explanation: Explanation, name: str) -> list[Tensor]:
        """`layer_maps` as a list, (heads, rows, cols) each: layers may have unlike numbers of heads.

        Raises:
            UsageError: The method has no such maps.
            OutOfMemoryError: All layers of one image do not fit into memory.
        """
        if name in explanation.layers:
            return list(torch.from_numpy(explanation.layers[name]))
        pixels = self.prepare(explanation.sample).pixels[None].to(self.classifier.device)
        with self.memory_errors():
            maps = self._of_all_layers.attribute_each_layer(pixels, self.targets.target_of(name))
            return [one[0].float().cpu() for one in maps]

    @cached_property
    def _of_all_layers(self) -> attr.PatchAttribution:
        return self.method.of_all_layers()

    @contextmanager
    def memory_errors(self) -> Iterator[None]:
        """Turn a lack of memory, which every device says in its own way, into an OutOfMemoryError."""
        try:
            yield
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise OutOfMemoryError(
                f"Out of memory with one image on {self.classifier.device}.",
                "Use fewer layers, a smaller dtype (--dtype bfloat16) or another device (--device cpu).",
            ) from None

    def _try_prepare(self, sample: Sample | Failure) -> ModelInput | Failure:
        if isinstance(sample, Failure):
            return sample
        try:
            return self.prepare(sample)
        except DataError as error:
            return Failure(name_of(sample), error)

    def _fits(self, batch: list[ModelInput], new: ModelInput) -> bool:
        images = {id(image): image for one in [*batch, new] for image in _images(one.sample)}.values()
        return (
            len(batch) < self.batch_size
            and new.pixels.shape == batch[0].pixels.shape
            and sum(image.width * image.height for image in images) <= HELD_PIXELS
        )

    def _explain_batch(self, batch: list[ModelInput]) -> Iterator[Explanation | Failure]:
        results, error = self._attempt(batch)
        if error is None:
            self._answered = True
            yield from results
        elif len(batch) == 1:
            yield Failure(name_of(batch[0].sample), error)
        else:
            half = len(batch) // 2
            if isinstance(error, OutOfMemoryError):
                self.batch_size = half
                log.warning("Out of memory with %d images at once; going on with %d.", len(batch), half)
            yield from self._explain_batch(batch[:half])
            yield from self._explain_batch(batch[half:])

    def _attempt(self, batch: list[ModelInput]) -> tuple[list[Explanation | Failure], ModelError | None]:
        """Results, or why there are none."""
        try:
            with self.memory_errors():
                return self._attribute(batch), None
        except ModelError as caught:
            if len(batch) == 1 and not self._answered and not isinstance(caught, OutOfMemoryError):
                raise
            error = caught
        forget_frames(error)  # the failed attempt's tensors must be gone before the next one
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return [], error

    def _attribute(self, batch: list[ModelInput]) -> list[Explanation | Failure]:
        pixels = torch.stack([one.pixels for one in batch]).to(self.classifier.device)
        self.method.check_model(pixels)  # first of all: in training mode a pass may write into buffers
        with last_token_norms(self.classifier, grid_of(self.classifier, pixels), len(batch)) as norms:
            logits = logits_of(self.classifier, pixels)
        relative = [(one / one.median()).numpy() for one in (norms[0].cpu() if norms else ())]
        names, targets = self.targets.resolve(logits)
        maps, layers = self._maps(pixels, targets)
        changes = self._score_changes(pixels, targets)
        outputs = logits.cpu().numpy()
        results: list[Explanation | Failure] = []
        for index, one in enumerate(batch):
            explanation = Explanation(
                sample=one.sample,
                labels=self.classifier.labels,
                logits=outputs[index],
                maps={name: maps[rank, index] for rank, name in enumerate(names[index])},
                layers={name: of[index] for name, of in zip(names[index], layers, strict=False)},
                geometry=one.geometry,
                method=self.method_name,
                options=self.options,
                model=self.model_description,
                problem_type=self.classifier.problem_type,
                preset=self.preset,
                token_norms=relative[index] if relative else None,
                score_changes=dict(zip(names[index], changes[:, index].tolist(), strict=False)),
            )
            results.append(_checked(explanation))
        return results

    def _maps(self, pixels: Tensor, targets: Sequence[Target]) -> tuple[np.ndarray, Sequence[np.ndarray]]:
        """(targets, B, rows, cols), and per target (B, layers, heads, rows, cols) if that costs nothing."""
        maps, layers = self.method.attribute_with_layers(pixels, targets)
        return maps.float().cpu().numpy(), () if layers is None else list(layers.float().cpu().numpy())

    def _score_changes(self, pixels: Tensor, targets: Sequence[Target]) -> np.ndarray:
        """(targets, B) what the maps should sum to, (0, B) of methods that have no such sum or few passes."""
        passes = self.method.info.forwards + self.method.info.backwards
        changes = None if passes < MANY_PASSES else self.method.score_changes(pixels, targets)
        return np.empty((0, len(pixels))) if changes is None else changes.float().cpu().numpy()


def choose_method(
    classifier: Classifier, options: dict[str, Any] | None = None, seed: int = 0
) -> attr.PatchAttribution:
    """The method, with its options, where none was named.

    Options are those of gradient-weighted attention (`layers`, `head_fusion` …) and choose it; without any
    the first of `attr.DEFAULTS` explains that finds in the model what it needs, which is tried on an image
    of noise. A warning says so, and why, where that is not the default preset.

    Raises:
        ModelError: The model does not answer, or not twice alike.
    """
    if options:
        return _create(classifier, attr.OPTIONS_METHOD, options, seed)
    pixels, why = noise(classifier), None
    methods = [_create(classifier, name, dict(chosen), seed) for name, chosen, _ in attr.DEFAULTS]
    methods[-1].check_needs(pixels)  # a model that does not answer, or not twice alike, fails here
    method = methods[-1]
    for candidate, (_, _, need) in zip(methods[:-1], attr.DEFAULTS, strict=False):
        try:
            if need != candidate.info.needs:
                attr.check_need(classifier, need, pixels)
            candidate.check_needs(pixels)
        except ModelError as error:
            why = why or error
            continue
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
        method = candidate  # where memory ran out, each image will tell
        break
    if why is not None:
        log.warning("Explained with %s instead of the default. %s", method.info.name, why.message)
    return method


def _create(
    classifier: Classifier, method: str | type[attr.PatchAttribution], options: dict[str, Any], seed: int
) -> attr.PatchAttribution:
    if isinstance(method, str):
        method = attr.METHODS.resolve(method, trusted=True)
    name, options = attr.resolve_method(method, options)
    if "seed" in inspect.signature(attr.METHODS[name]).parameters:
        options = {"seed": seed, **options}
    return attr.create(name, classifier, **options)


def options_of(method: attr.PatchAttribution) -> dict[str, Any]:
    """All options of a method, as it was made."""
    names = list(inspect.signature(attr.METHODS[method.info.name]).parameters)[1:]
    return {name: getattr(method, name) for name in names}


def noise(classifier: Classifier) -> Tensor:
    """An input made of seeded noise, sent through the preprocessing, to try a model with.

    Returns:
        (1, 3, H, W) on the model's device.

    Raises:
        ModelError: Neither preprocessing nor an input size is known.
    """
    random = np.random.default_rng(0)
    if classifier.preprocessing is not None:
        image = fromarray(random.integers(0, 256, (480, 640, 3), np.uint8))
        return classifier.preprocess(image)[None].to(classifier.device)
    if classifier.input_size is None:
        missing = f"{classifier.name} says neither its input size nor its preprocessing."
        raise ModelError(missing, "Name them in the YAML.")
    values = random.standard_normal((1, 3, *classifier.input_size)).astype(np.float32)
    return torch.from_numpy(values).to(classifier.device)


def _checked(explanation: Explanation) -> Explanation | Failure:
    for name, values in explanation.maps.items():
        if broken := values.size - int(np.isfinite(values).sum()):
            error = ModelError(
                f"The map of {name!r} is not finite: {broken} of {values.size} values are NaN or infinite.",
                "Load the model with a wider dtype (--dtype float32).",
            )
            return Failure(name_of(explanation.sample), error)
    return explanation


def name_of(sample: Sample) -> str:
    """What a person knows the image by."""
    return face_named(sample, str(sample.path or sample.id))


def _images(sample: Sample) -> list[Image]:
    """All that a sample holds in memory; several faces may hold one photograph."""
    return [sample.image] if sample.origin is None else [sample.image, sample.origin.image]


def logits_of(classifier: torch.nn.Module, pixels: Tensor) -> Tensor:
    """(B, C) float32 answer of the model, without a graph.

    Raises:
        ModelError: It is no logit. Where that may be, by its values, a graph is asked, once for a classifier.
    """
    with without_graph():
        logits = classifier(pixels).detach().float()
    if classifier not in _LOGITS and logits.abs().max() <= 1:
        with torch.inference_mode(False), torch.enable_grad():
            classifier(pixels[:1].clone().requires_grad_())
        _LOGITS.add(classifier)
    return logits
