"""What every attribution method shares: Captum's contract on top of relevance per patch."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, ClassVar, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from xai.attention import (
    AttentionCall,
    Crops,
    Probe,
    Recording,
    check_repeatable,
    cut_inputs,
    grid_of,
    is_traced,
    may_vary,
    modules_of,
    probe,
    random_state,
    readout_layer,
    readout_only,
    record_attention,
    refuse_inference,
)
from xai.attr.captum_classes import Attribution, log_usage
from xai.attr.inputs import PatchMap, Pixels, check_differentiable, differentiable, like_inputs, prepare
from xai.attr.layers import LayerFusion, stack_layers, without_layers
from xai.attr.libra import RULES, libra_rules
from xai.attr.lrp_rules import written_over_as_model_error
from xai.core import PatchGrid, UsageError
from xai.core.catalogue import MethodInfo
from xai.core.options import check_option
from xai.core.target import Target, read_target, score

PatchMaps = Float[Tensor, "targets b rows cols"]
LayerMaps = Float[Tensor, "targets b layers heads rows cols"]
Scores = Float[Tensor, "b"]


class PatchAttribution(Attribution):
    """Relevance on the patch grid of a vision transformer, as a Captum attribution.

    Subclasses set `info` and implement `_relevance`.

    Args:
        forward_func: A classifier (pixels (B, 3, H, W) → logits (B, C)), as `xai.load` returns it, or any
            module whose configuration tells its patch grid.
    """

    info: ClassVar[MethodInfo]
    rules: str | None = None  # whose gradient: of methods that have this option, set by `_follow`
    one_image = False  # whether no further image will come: nothing is tried then that pays off for many

    def __init__(self, forward_func: nn.Module):
        if not isinstance(forward_func, nn.Module):
            raise UsageError(
                f"{type(self).__name__} explains a torch.nn.Module; got {type(forward_func).__name__}.",
                "Load the model with xai.load(...).",
            )
        super().__init__(forward_func)
        self._plain: dict[Any, Tensor] = {}
        self._probes: dict[Any, Probe] = {}

    @property
    def model(self) -> nn.Module:
        """The explained module."""
        return cast(nn.Module, self.forward_func)

    @log_usage()  # sets __wrapped__, which NoiseTunnel calls
    def attribute(
        self,
        inputs: Any,
        target: Target = None,
        additional_forward_args: Any = None,
        return_convergence_delta: bool = False,
    ) -> Any:
        """Attribute the target's score to the input pixels.

        Each patch's relevance is spread evenly over its pixels and channels, so the sum is kept.

        Args:
            inputs: (B, 3, H, W), or a 1-tuple of it.
            target: Any of Captum's forms, or `xai.core.Margin`.
            additional_forward_args: Passed to the model after the pixels.
            return_convergence_delta: Also return `compute_convergence_delta` of the attribution.

        Returns:
            Attribution of the inputs' shape and dtype, in a 1-tuple if the inputs were.
        """
        attributions = like_inputs(inputs, self.attribute_patches(inputs, target, additional_forward_args))
        if not return_convergence_delta:
            return attributions
        delta = self.compute_convergence_delta(attributions, None, inputs, target, additional_forward_args)
        return attributions, delta

    def has_convergence_delta(self) -> bool:
        """Whether relevance sums to a change of the score, up to how finely it is computed."""
        return self.info.complete and self.rules is None

    def compute_convergence_delta(
        self,
        attributions: Any,
        start_point: Any,
        end_point: Any,
        target: Target = None,
        additional_forward_args: Any = None,
    ) -> Scores:
        """(B,) sum of relevance − `score_changes`; UsageError: it has none, or a start point is given."""
        if start_point is not None and self.has_convergence_delta():
            raise UsageError(f"{self.info.name} starts at a point of its own: start_point must be None.")
        if (changes := self.score_changes(end_point, [target], additional_forward_args)) is None:
            raise UsageError(f"{self.info.name} has no delta: its relevance sums to no change of the score.")
        total = attributions[0] if isinstance(attributions, tuple) else attributions
        return total.flatten(1).sum(1) - changes[0]

    def score_changes(
        self, inputs: Any, targets: Sequence[Target], additional_forward_args: Any = None
    ) -> Float[Tensor, "targets b"] | None:
        """(targets, B) y(inputs) − y(where a complete method starts): what relevance sums to, if known."""
        if not self.has_convergence_delta():
            return None
        seen = self._in_crops(inputs)
        with self._attributing(seen[1] if seen else inputs, additional_forward_args) as (pixels, args):
            wanted = self._normalised(seen[0].each(targets) if seen else targets)
            with torch.no_grad():
                if (start := self._start_logits(pixels, args)) is None:
                    return None
                end = self.model(pixels, *args)
            changes = [score(end, target) - score(start, target) for target in wanted]
            return torch.stack([seen[0].mean(one) for one in changes] if seen else changes)

    def _start_logits(self, pixels: Pixels, args: tuple[Any, ...]) -> Tensor | None:
        """(B, classes) logits where a complete method starts; None: its maps' sums are not checked."""
        return None

    def attribute_patches(
        self, inputs: Any, target: Target = None, additional_forward_args: Any = None
    ) -> PatchMap:
        """Relevance (B, rows, cols) on the patch grid: raw, detached, in the inputs' dtype."""
        return self.attribute_targets(inputs, [target], additional_forward_args)[0]

    def attribute_targets(
        self, inputs: Any, targets: Sequence[Target], additional_forward_args: Any = None
    ) -> PatchMaps:
        """Relevance (targets, B, rows, cols) for several targets, sharing a forward pass where possible."""
        if (seen := self._in_crops(inputs)) is not None:
            crops, pixels = seen
            return crops.added(self.attribute_targets(pixels, crops.each(targets), additional_forward_args))
        with self._attributing(inputs, additional_forward_args) as (pixels, args):
            return self._relevance(pixels, self._normalised(targets), args).detach().to(pixels.dtype)

    @property
    def fusion(self) -> LayerFusion | None:
        """How the map is fused of `attribute_layers`; None where it is made in a way of its own."""
        return None

    def of_all_layers(self) -> "PatchAttribution":
        """A method whose `attribute_layers` are those of every layer, however few make this map."""
        return self

    def attribute_layers(
        self, inputs: Any, target: Target = None, additional_forward_args: Any = None
    ) -> Float[Tensor, "b layers heads rows cols"]:
        """Maps per layer and head, signed, before any clamp or fusion: (B, layers, heads, rows, cols).

        Raises:
            UsageError: The method has no such maps: its `info.layers` is False. Or its layers have unlike
                numbers of heads; then `attribute_each_layer`.
        """
        return self.attribute_target_layers(inputs, [target], additional_forward_args)[0]

    def attribute_target_layers(
        self, inputs: Any, targets: Sequence[Target], additional_forward_args: Any = None
    ) -> LayerMaps:
        """`attribute_layers` for several targets, sharing a forward pass where possible."""
        return stack_layers(self._each_layer(inputs, targets, additional_forward_args))

    def attribute_each_layer(
        self, inputs: Any, target: Target = None, additional_forward_args: Any = None
    ) -> list[Float[Tensor, "b _ rows cols"]]:
        """`attribute_layers` as a list, (B, heads, rows, cols) each: layers may have unlike numbers of heads.

        Raises:
            UsageError: The method has no such maps.
        """
        return [maps[0] for maps in self._each_layer(inputs, [target], additional_forward_args)]

    def _each_layer(
        self, inputs: Any, targets: Sequence[Target], additional_forward_args: Any
    ) -> list[Float[Tensor, "targets b _ rows cols"]]:
        if not self.info.layers:
            raise UsageError(f"{self.info.name} has no maps per layer and head.")
        if (seen := self._in_crops(inputs)) is not None:
            crops, pixels = seen
            layers = self._each_layer(pixels, crops.each(targets), additional_forward_args)
            return [crops.added(one.transpose(1, 2)).transpose(1, 2) for one in layers]
        with self._attributing(inputs, additional_forward_args) as (pixels, args):
            layers = self._layer_maps(pixels, self._normalised(targets), args)
            return [one.detach().to(pixels.dtype) for one in layers]

    def attribute_with_layers(
        self, inputs: Any, targets: Sequence[Target], additional_forward_args: Any = None
    ) -> tuple[PatchMaps, LayerMaps | None]:
        """`attribute_targets`, and `attribute_target_layers` of all layers where they cost nothing more."""
        return self.attribute_targets(inputs, targets, additional_forward_args), None

    def _layer_maps(
        self, pixels: Pixels, targets: Sequence[Target], args: tuple[Any, ...]
    ) -> list[Float[Tensor, "targets b _ rows cols"]]:
        """Per layer (targets, B, heads, rows, cols); every method whose `info.layers` is True writes it."""
        raise without_layers(self, "_layer_maps")

    def _normalised(self, targets: Sequence[Target]) -> list[Target]:
        return [read_target(target, self.model) for target in targets]

    @abstractmethod
    def _relevance(self, pixels: Pixels, targets: Sequence[Target], args: tuple[Any, ...]) -> PatchMaps:
        """(targets, B, rows, cols) for pixels that are finite, detached and of shape (B, 3, H, W)."""

    def check_model(self, pixels: Tensor, args: tuple[Any, ...] = ()) -> None:
        """Refuse a model whose answers vary by its mode; a pass is made only where its modules leave it open.

        Raises:
            ModelError: It is in training mode with dropout, or normalises by the batch; or the method needs
                gradients and it was built under `torch.inference_mode`.
        """
        if self.info.family == "control":  # these never call the model
            return
        if self.info.backwards:
            refuse_inference(self.model)
        state = self._state(pixels)
        if state not in self._plain and may_vary(self.model):
            self._plain[state] = check_repeatable(self.model, self._first(pixels, args), args)

    def check_needs(self, inputs: Any, additional_forward_args: Any = None) -> None:
        """Refuse a model that lacks what the method needs: a pass or two, of one image.

        Raises:
            ModelError: The model lacks it; why, and which methods work all the same.
        """
        if (seen := self._in_crops(inputs)) is not None:
            inputs = seen[1][:1]
        with self._attributing(inputs, additional_forward_args) as (pixels, args):
            self._check_needs(pixels, args)
            if self.rules is not None:  # only a pass tells what has no rule
                self._relevance(self._first(pixels, args).clone(), [0], args)

    def _check_needs(self, pixels: Pixels, args: tuple[Any, ...]) -> None:
        if self.info.needs == "gradients":
            check_differentiable(self.model, pixels, args)
        elif self.info.needs != "pixels":
            self._probe(pixels, args)

    def _in_crops(self, inputs: Any) -> tuple[Crops, Tensor] | None:
        """The crops that the model takes of these inputs, if any: each is explained, but by controls."""
        return None if self.info.family == "control" else cut_inputs(self.model, inputs)

    @contextmanager
    def _attributing(
        self, inputs: Any, additional_forward_args: Any
    ) -> Iterator[tuple[Pixels, tuple[Any, ...]]]:
        """Inputs as `prepare` gives them, inside a block in which the model must not draw random numbers.

        Raises:
            ModelError: After the block, when it drew some and its answers vary.
        """
        in_place = nullcontext() if self.rules is None else written_over_as_model_error()
        with differentiable(), in_place:
            pixels, args = prepare(inputs, additional_forward_args)
            self.check_model(pixels, args)
            before = random_state(pixels.device)
            yield pixels, args
            if self.info.family != "control" and random_state(pixels.device) != before:
                check_repeatable(self.model, self._first(pixels, args), args)

    def _probe(self, pixels: Tensor, args: tuple[Any, ...]) -> Probe:
        """How the model attends to inputs of this size; found out once by one extra pass of one image."""
        state = self._state(pixels)
        if state not in self._probes:
            first = self._first(pixels, args)
            self._probes[state] = probe(self.model, first, args, self._grid(pixels), self._plain.get(state))
        return self._probes[state]

    def _state(self, pixels: Tensor) -> Any:
        """What a finding about the model holds for: the input's size and every module's mode."""
        return tuple(pixels.shape[1:]), hash(tuple((id(m), m.training) for m in modules_of(self.model)))

    def _first(self, pixels: Tensor, args: tuple[Any, ...]) -> Tensor:
        """One image, or all where an argument comes by image or a graph may hold for this batch only."""
        whole_batch = any(isinstance(a, Tensor) and a.dim() and len(a) == len(pixels) for a in args)
        return pixels if whole_batch or is_traced(self.model) else pixels[:1]

    def _grid(self, pixels: Tensor) -> PatchGrid:
        return grid_of(self.model, pixels)

    def _readout_only(
        self, probe: Probe, pixels: Tensor, args: tuple[Any, ...]
    ) -> AbstractContextManager[None]:
        """Compute of the last layer what the classifier reads, where the model allows it.

        To be made before any other context is opened: finding out whether it does takes passes of its own.
        """
        layer = readout_layer(self.model, self._first(pixels, args), args, probe)
        return readout_only(self.model, layer)

    def _record(
        self,
        probe: Probe,
        pixels: Tensor,
        args: tuple[Any, ...],
        layers: Sequence[int],
        gradients: bool,
        *,
        every_row: bool = True,
    ) -> tuple[Tensor, list[AttentionCall]]:
        """Logits and the chosen layers' recorded calls, from one forward pass.

        `every_row=False`: of the last layer nothing is read but the keys, the values and `probe.rows`.
        """
        whole = every_row or self.one_image
        last = nullcontext() if whole else self._readout_only(probe, pixels, args)
        with self._recording(probe, len(pixels), layers, gradients) as recorded, last, self._by_rules():
            logits = self.model(pixels, *args)
        return logits, [recorded.calls[i] for i in layers]

    def _follow(self, rules: str | None) -> None:
        check_option("rules", rules, RULES)
        self.rules = rules

    def _by_rules(self) -> AbstractContextManager[None]:
        """To be opened around the passes that gradients are asked of, inside of any recording."""
        return nullcontext() if self.rules is None else libra_rules(self.model)

    def _recording(
        self, probe: Probe, images: int, layers: Sequence[int], gradients: bool = True
    ) -> AbstractContextManager[Recording]:
        """Record one forward pass of so many images, which must make the calls that the probe saw."""
        return record_attention(
            self.model,
            tokens=probe.grid.tokens,
            layers=layers,
            gradients=gradients,
            images=images,
            calls=probe.calls,
        )
