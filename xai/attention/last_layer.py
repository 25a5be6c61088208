"""The last layer for what the classifier reads of it: keys and values of all tokens, everything else of few.

A classifier that reads the class token needs of its last transformer block the keys and values of all tokens,
but query, output projection, residual and MLP of that one token: a quarter of the block. The block itself is
run twice: on all tokens up to its attention, whose keys and values are kept, then on the leading tokens
alone, whose queries attend to what was kept. No layer is known by name or class. Whether the answer is the
same is tried once per model, on perturbed inputs, and the block is left as it is where it is not.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from threading import get_ident
from typing import Any
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xai.attention.intercept import AttentionInterceptor, Running, Watcher
from xai.attention.masking import mask_patches
from xai.attention.probe import Probe, probe, same_random_state
from xai.attention.record import Recording, recorded
from xai.attention.regions import grid_of
from xai.attention.running import as_written, is_traced
from xai.core import ModelError
from xai.core.errors import first_line

_AGREEMENT = {torch.float16: 0.02, torch.bfloat16: 0.05}  # relative to the largest entry; else:
_EXACT = 1e-5


@dataclass(frozen=True)
class ReadoutLayer:
    """How the last block of a model can be computed for the tokens that its classifier reads.

    Args:
        block: Name of the block among the model's modules; None where it has to be computed whole.
        axis: Axis of the tokens in what the block is given: 1, or 0 in a sequence-first model.
        rows: How many leading tokens are computed.
        prefix: Tokens before the first patch.
        reason: Why it has to be computed whole, in words; "" where it has not.
    """

    block: str | None
    axis: int = 1
    rows: int = 1
    prefix: int = 1
    reason: str = ""

    def follow(self, value: Any, tokens: int) -> Any:
        """Of an argument of the block what belongs to the leading tokens, `tokens` being all of them."""
        if isinstance(value, tuple | list):
            return type(value)(self.follow(item, tokens) for item in value)
        if not isinstance(value, Tensor) or value.dim() < 2:
            return value
        if value.dim() == 3 and value.shape[self.axis] == tokens:
            return value.narrow(self.axis, 0, self.rows)
        if value.dim() == 2 and value.shape[0] == tokens:
            return value[: self.rows]
        # positions that are given to patches only (rotary): none of the leading tokens is a patch
        return value[..., :0, :] if value.shape[-2] == tokens - self.prefix else value


# by input: version of the model, finding
_KNOWN: WeakKeyDictionary[nn.Module, dict[Any, tuple[int, ReadoutLayer]]] = WeakKeyDictionary()


def readout_layer(
    model: nn.Module, pixels: Tensor, args: tuple[Any, ...] = (), probed: Probe | None = None
) -> ReadoutLayer:
    """Find the last block and try whether it may be computed for the read-out alone; at most once per model.

    Tried again when weights or modes changed, and for inputs of another size or further arguments of another
    kind. Costs about three passes of one image, and two more where `probed` is not given.

    Args:
        model: A classifier, pixels in and logits out.
        pixels: (B, 3, H, W); a single image is enough.
        args: Further arguments of the model.
        probed: What `probe` says of it for this input, if known.

    Returns:
        A finding that `readout_only` takes; it says why where the block has to be computed whole.
    """
    known = _KNOWN.setdefault(model, {})
    version = version_of(model)
    kind = (pixels.shape[1:], pixels.dtype, *((type(a), getattr(a, "shape", None)) for a in args))
    if kind in known and known[kind][0] == version:
        return known[kind][1]
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast(pixels.device.type, enabled=False),
        same_random_state(pixels.device),
    ):
        pixels = pixels.clone() if pixels.is_inference() else pixels.detach()
        try:
            found = _find(model, pixels, args, probed)
        except Exception as error:  # of any kind: foreign code meets what it was not written for
            found = _whole(getattr(error, "message", None) or f"{type(error).__name__}: {first_line(error)}")
    known[kind] = version, found
    return found


def _whole(reason: str) -> ReadoutLayer:
    return ReadoutLayer(None, reason=reason)


def version_of(model: nn.Module) -> int:
    """Changes when modules or their modes do, or weights are replaced or written to in place."""
    modules = [(id(module), module.training) for module in model.modules()]
    weights = [(id(p), p.device, p.dtype, 0 if p.is_inference() else p._version) for p in model.parameters()]
    return hash((tuple(modules), tuple(weights)))


@contextmanager
def readout_only(model: nn.Module, layer: ReadoutLayer) -> Iterator[None]:
    """Inside the block of `with` the model's last block computes the leading tokens only.

    What it returns has `layer.rows` tokens. Recorded attention of that layer has as many queries, and all
    keys. Masked and dropped patches are followed. Hooks are removed afterwards, also after an exception;
    other threads that run the model at the same time are not concerned.

    Args:
        model: The module that will be called.
        layer: From `readout_layer`, of this model and input size.
    """
    if layer.block is None:
        yield
        return
    shortcut = _Shortcut(layer)
    block = model.get_submodule(layer.block)
    with ExitStack() as stack:
        stack.enter_context(as_written(model))  # compiled code need not call the hooks
        stack.callback(shortcut.close)
        stack.callback(block.register_forward_pre_hook(shortcut.enter, with_kwargs=True).remove)
        stack.callback(block.register_forward_hook(shortcut.leave, always_call=True).remove)
        yield


class _Shortcut:
    """What happens as a block is entered and left."""

    def __init__(self, layer: ReadoutLayer):
        self.layer = layer
        self.thread = get_ident()
        self.attending: _Attending | None = None

    def enter(self, block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        tokens = self._tokens(args, kwargs)
        if get_ident() != self.thread or tokens <= self.layer.rows:
            return None
        reached = _reach(block.forward, args, kwargs)
        self.attending = _Attending(reached, self.layer.rows)
        self.attending.__enter__()  # until `leave`
        return (
            tuple(self.layer.follow(value, tokens) for value in args),
            {name: self.layer.follow(value, tokens) for name, value in kwargs.items()},
        )

    def leave(self, block: nn.Module, args: Any, output: Any) -> None:
        if get_ident() == self.thread:
            self.close()

    def close(self) -> None:
        """Leave the mode, where an interruption kept `leave` from being called."""
        attending, self.attending = self.attending, None
        if attending is not None:
            attending.__exit__(None, None, None)

    def _tokens(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
        given = next(x for x in (*args, *kwargs.values()) if isinstance(x, Tensor) and x.dim() == 3)
        return given.shape[self.layer.axis]


class _ReachedError(Exception):
    """Ends a pass at its first attention call."""

    def __init__(self, key: Tensor, value: Tensor, options: dict[str, Any]):
        super().__init__("attention was reached")
        self.key, self.value, self.options = key, value, options


class _Reaching(AttentionInterceptor):
    def attend(self, query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Tensor:
        raise _ReachedError(key, value, options)


def _reach(forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> _ReachedError:
    """Keys, values and options of the attention call of a block."""
    try:
        with _Reaching():
            forward(*args, **kwargs)
    except _ReachedError as reached:
        return reached.with_traceback(None)  # it would keep the block's tensors
    raise ModelError("The last transformer block did not attend as it did when it was looked at first.")


class _Attending(AttentionInterceptor):
    """Lets the leading queries attend to keys and values of all tokens."""

    def __init__(self, reached: _ReachedError, rows: int):
        super().__init__()
        if reached.options.get("is_causal"):
            raise ModelError("Its attention is causal.")
        self.key, self.value, self.options = reached.key, reached.value, dict(reached.options)
        mask = reached.options.get("attn_mask")
        if mask is not None and mask.dim() > 1 and mask.shape[-2] > 1:
            self.options["attn_mask"] = mask[..., :rows, :]

    def attend(self, query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Tensor:
        return F.scaled_dot_product_attention(query, self.key, self.value, **self.options)


def _find(model: nn.Module, pixels: Tensor, args: tuple[Any, ...], probed: Probe | None) -> ReadoutLayer:
    if is_traced(model):
        return _whole("A part of the model is an exported or scripted graph.")
    if probed is None:
        probed = probe(model, pixels if args else pixels[:1], args, grid_of(model, pixels))
    rows, prefix = max(probed.rows) + 1, probed.grid.prefix
    if probed.pooling or probed.reads_patches or rows > prefix:
        also = " and patches" if probed.reads_patches and probed.rows[0] < prefix else ""
        return _whole(f"The classifier reads more than leading tokens: {probed.readout}{also}.")
    if probed.layers < 2:
        return _whole("The model has a single attention layer.")
    trial = _Trial(model, pixels if args else pixels[:1], args, probed)
    paths = trial.watch()
    last = paths[probed.layers - 1]
    elsewhere = {running.module for i, path in enumerate(paths) if i != probed.layers - 1 for running in path}
    own = [running for running in last if running.module not in elsewhere]
    for running in own:
        axis = _token_axis(running, probed.grid.tokens)
        name = next((name for name, module in model.named_modules() if module is running.module), None)
        if axis is not None and name is not None:
            layer = ReadoutLayer(name, axis, rows, prefix)
            apart = max(trial.of_model(layer), trial.of_block(layer, running))
            limit = _AGREEMENT.get(pixels.dtype, _EXACT)
            if apart <= limit:
                return layer
            return _whole(f"Its answers would differ by {apart:.1e} (relative; at most {limit:.0e}).")
    return _whole("No module that takes all tokens holds the last attention layer alone.")


def _token_axis(running: Running, tokens: int) -> int | None:
    for value in (*running.args, *running.kwargs.values()):
        if isinstance(value, Tensor) and value.dim() == 3:
            return next((axis for axis in (1, 0) if value.shape[axis] == tokens), None)
    return None


class _Trial:
    """Passes with the whole last block, and the same with the leading tokens of it."""

    def __init__(self, model: nn.Module, pixels: Tensor, args: tuple[Any, ...], probed: Probe):
        self.model, self.args, self.probed = model, args, probed
        self.generator = torch.Generator().manual_seed(0)
        self.pixels = pixels + self._noise(pixels)
        presence = torch.rand(1, probed.grid.patches, generator=self.generator)
        self.presence = presence.to(pixels.device)

    def _noise(self, like: Tensor) -> Tensor:
        noise = torch.randn(like.shape, generator=self.generator)
        return noise.to(like) * like.std().clamp_min(torch.finfo(like.dtype).tiny)

    def watch(self) -> list[list[Running]]:
        """The modules around every attention call, in a pass that is also the whole one."""
        watcher = Watcher(self.model, self.probed.grid.tokens)
        self.whole = self._pass(watcher)
        return watcher.paths

    def of_model(self, layer: ReadoutLayer) -> float:
        """Relative difference of logits, last queries and gradients, patches fading by unequal amounts."""
        short = self._pass(readout_only(self.model, layer))
        pairs = [
            (a.narrow(-2, 0, b.shape[-2]) if a.dim() > 2 else a, b)
            for a, b in zip(self.whole, short, strict=True)
        ]
        return max(_apart(whole, few) for whole, few in pairs)

    def _pass(self, around: Any) -> list[Tensor]:
        probed, layers = self.probed, (self.probed.layers - 2, self.probed.layers - 1)
        recording = Recording(probed.grid.tokens, len(self.pixels))
        with (
            recorded(self.model, recording, layers, True),
            mask_patches(self.model, self.presence, probed.grid, calls=probed.calls),
            around,
        ):
            logits = self.model(self.pixels, *self.args)
        calls = [recording.calls[layer] for layer in layers]
        weights = torch.arange(1, logits.shape[-1] + 1, device=logits.device, dtype=logits.dtype)
        gradients = torch.autograd.grad((logits * weights).sum(), [call.output for call in calls])
        return [logits.detach(), calls[-1].query, calls[-1].output.detach(), *gradients]

    @torch.no_grad()
    def of_block(self, layer: ReadoutLayer, running: Running) -> float:
        """The same of the block alone: other tokens, a batch of several, and with patches dropped."""
        block, tokens = running.module, self.probed.grid.tokens
        fewer = layer.prefix + max(1, self.probed.grid.patches // 2)
        found = [0.0]
        for count in (tokens, fewer):

            def other(value: Any, count: int = count) -> Any:
                if not isinstance(value, Tensor) or value.dim() != 3 or value.shape[layer.axis] != tokens:
                    return value
                value = value.narrow(layer.axis, 0, count).repeat_interleave(2, 1 - layer.axis)
                return value + self._noise(value)

            args = tuple(map(other, running.args))
            kwargs = {name: other(value) for name, value in running.kwargs.items()}
            try:
                whole = _leading(block(*args, **kwargs), layer)
            except Exception:  # noqa: S112
                continue  # what else it is given holds for this batch, or for all tokens
            with readout_only(block, ReadoutLayer("", layer.axis, layer.rows, layer.prefix)):
                short = _leading(block(*args, **kwargs), layer)
            found.append(_apart(whole, short))
        return max(found)


def _leading(output: Any, layer: ReadoutLayer) -> Tensor:
    tokens = output if isinstance(output, Tensor) else output[0]
    return tokens.narrow(layer.axis, 0, layer.rows).clone()


def _apart(whole: Tensor, short: Tensor) -> float:
    """Largest difference relative to the largest entry; infinite where shapes differ or one is not finite."""
    if whole.shape != short.shape:
        return float("inf")
    apart, scale = (whole.double() - short.double()).abs().max(), whole.double().abs().max()
    if not torch.isfinite(apart):
        return float("inf")
    return float(apart / scale) if apart else 0.0
