"""In which precision perturbed images are computed, and how far that moves the scores."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from time import perf_counter, process_time

import torch

from xai.attention import evaluation_mode
from xai.bench.config.schema import BenchmarkConfig
from xai.bench.run.context import RunContext
from xai.bench.run.inputs import InputImage, read_inputs
from xai.bench.run.items import MEASURED_DTYPE
from xai.bench.run.plan import MEASURED, metrics_of
from xai.bench.run.store import Store, read_run
from xai.core import ConfigError, DataError
from xai.metrics import evaluate
from xai.perturb import Stream

Tried = Callable[[Callable[[RunContext], "PrecisionChoice"], RunContext], "PrecisionChoice"]
ROUNDS = 3  # by turns, after one to warm up
FASTER = 1.1  # from which bfloat16 counts as faster


@dataclass(frozen=True)
class PrecisionChoice:
    """What `precision: auto` came to.

    Args:
        precision: "float32" or "bfloat16".
        reason: In words.
        ratio: How many times as fast bfloat16 was on this device; None where that was not tried.
    """

    precision: str
    reason: str
    ratio: float | None = None


def check_precision(context: RunContext) -> None:
    """Refuse to measure the error of bfloat16 in a model that is not computed in float32 itself.

    Raises:
        ConfigError: It has another type.
    """
    dtype = str(context.classifier.dtype).removeprefix("torch.")
    if context.config.precision == "bfloat16" and dtype != "float32":
        raise ConfigError(
            f"precision: bfloat16 is measured beside float32, and the model is in {dtype}.",
            "Say dtype: float32, or leave precision out.",
        )


def choose_precision(context: RunContext) -> PrecisionChoice:
    """Try both on the first image that can be used: bfloat16 where it is faster and the run long enough.

    In bfloat16 a run computes some images in float32 too, to know its error. It is worth that where it saves
    more.
    """
    device, images = context.classifier.device, len(context.source)
    if context.classifier.dtype != torch.float32:
        return PrecisionChoice("float32", "the model is not in float32: it is computed as it is")
    if not metrics_of(context.config, "perturbation"):
        return PrecisionChoice("float32", "no metric perturbs images")
    if not has_bfloat16(device):
        return PrecisionChoice("float32", f"{device} has no instructions for bfloat16")
    if images <= MEASURED:
        return PrecisionChoice("float32", f"{images} images are no more than its error is measured on")
    with evaluation_mode(context.classifier):
        ratio = _ratio(context, first_image(context))
    if ratio < FASTER:
        return PrecisionChoice("float32", f"bfloat16 is {ratio:.2f} times as fast on {device}", ratio)
    if images * (1 - 1 / ratio) <= MEASURED:
        reason = f"bfloat16 is {ratio:.2f} times as fast, and its error costs more than {images} images save"
        return PrecisionChoice("float32", reason, ratio)
    return PrecisionChoice("bfloat16", f"bfloat16 is {ratio:.2f} times as fast on {device}", ratio)


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 natively."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    able = torch.cpu.get_capabilities()
    return any(able.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def first_image(context: RunContext) -> InputImage:
    """The first image that can be used.

    Raises:
        DataError: There is none.
    """
    reasons: list[str] = []
    for index in range(len(context.source)):
        (entry,) = context.source.entries(index, index + 1)
        ready, excluded = read_inputs(context.classifier, [(index, entry)], context.batches)
        if ready:
            return ready[0]
        reasons += [one.reason for one in excluded]
    raise DataError(f"None of {len(context.source)} images could be used: {reasons[0].removesuffix('.')}.")


def decide_precision(context: RunContext, store: Store | None, tried: Tried) -> BenchmarkConfig:
    """The configuration with `precision: auto` decided, as in the run's folder or by trial.

    Args:
        context: Of the run; has that configuration afterwards.
        store: Of the run, if it has a folder.
        tried: Calls a function of the context where the work will be done.

    Raises:
        ConfigError: See `check_precision`.
    """
    if context.config.precision == "auto":
        if store is not None and store.run_file.exists() and store.keys():
            lower = read_run(store.folder).identity.get("autocast") == MEASURED_DTYPE
            choice = PrecisionChoice("bfloat16" if lower else "float32", "as the run was begun")
        else:
            choice = tried(choose_precision, context)
        context.chosen = asdict(choice)
        context.config = context.config.model_copy(update={"precision": choice.precision})
    check_precision(context)
    return context.config


def _ratio(context: RunContext, image: InputImage) -> float:
    """Smallest ratio of the time of float32 to that of bfloat16, by turns, under the first protocol."""
    grid, protocol = context.classifier.grid, next(iter(context.protocols.values()))
    draws = torch.rand(2, 1, grid.rows, grid.cols, generator=torch.Generator().manual_seed(0))
    target = torch.tensor([int(image.logits.argmax())])
    metrics = metrics_of(context.config, "perturbation")
    # a CPU may be shared with others; of a GPU the scores are read on the host, so it has finished
    clock = process_time if context.classifier.device.type == "cpu" else perf_counter

    def seconds(autocast: torch.dtype | None) -> float:
        stream = Stream(context.classifier, batch_size=context.config.batch_size, autocast=autocast, seed=0)
        start = clock()
        evaluate(stream, metrics, image.pixels[None], draws, target, protocol)
        return clock() - start

    rounds = [(seconds(None), seconds(torch.bfloat16)) for _ in range(ROUNDS + 1)]
    return min(full / low for full, low in rounds[1:])
