"""Grad-CAM beside grad-cam and torchcam, by turns in one process; writes reports/speed/feature_cams.md.

    make .venv-peers/.installed
    .venv-peers/bin/python benchmarks/feature_cams.py

All run on the same random weights, images and class, and give the same raw map, which is checked first. A
round is one plain inference pass, ours and the peers', in an order that alternates.
"""

import argparse
import os
import time
from collections.abc import Callable, Mapping

import torch
import turns
from measure import spread
from torch import Tensor, nn

from xai.attr import GradCAM

TARGET = 1
Map = Callable[[Tensor], Tensor]

TEXT = (
    "Each call gives one raw Grad-CAM map per image of one class, on ResNet-50 shapes (random weights, "
    "224×224 pixels, `layer4`, 7×7 cells), in float32. CPU seconds, medians; ratios round by round, with the "
    "5th and 95th percentile: first to one plain inference pass of the same images, then the peer's to ours.",
    "*As used* leaves the model's weights trainable, as both peers' documents do: grad-cam then computes the "
    "gradient of every weight, torchcam keeps the graph of the whole model. "
    "*Frozen* is the least that lets them work: only the last norm of the layer is "
    "left trainable, so that their graph begins there. Ours freezes weights by itself, and puts them back. "
    "The layer is named to all; to find it by trial takes ours about five passes of one image, once per "
    "model and size.",
)


def ours(model: nn.Module) -> Map:
    method = GradCAM(model, layer="layer4", relu=False)
    return lambda pixels: method.attribute_native(pixels, TARGET)


def grad_cam(model: nn.Module) -> Map:
    from pytorch_grad_cam import GradCAM as PeerGradCAM  # pyrefly: ignore[missing-import]
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget  # pyrefly: ignore[missing-import]

    class Raw(PeerGradCAM):
        """The map before it is scaled and enlarged, which would be timed as well."""

        def compute_cam_per_layer(self, input_tensor, targets, eigen_smooth):
            record = self.activations_and_grads
            features, gradient = record.activations[0].numpy(), record.gradients[0].numpy()
            return self.get_cam_image(input_tensor, self.target_layers[0], targets, features, gradient)

        def aggregate_multi_layers(self, cam_per_target_layer):
            return cam_per_target_layer

    peer = Raw(model, [model.get_submodule("layer4")])
    return lambda pixels: torch.as_tensor(peer(pixels, [ClassifierOutputTarget(TARGET)] * len(pixels)))


def torchcam(model: nn.Module) -> Map:
    from torchcam.methods import GradCAM as TorchcamGradCAM  # pyrefly: ignore[missing-import]

    peer = TorchcamGradCAM(model, "layer4")
    peer._relu = False

    def theirs(pixels: Tensor) -> Tensor:
        return peer(TARGET, model(pixels), normalized=False)[0]

    return theirs


SIDES: dict[str, Callable[[nn.Module], Map]] = {"ours": ours, "grad-cam": grad_cam, "torchcam": torchcam}


def resnet50(frozen: bool) -> nn.Module:
    from torchvision.models import get_model  # pyrefly: ignore[missing-import]

    torch.manual_seed(0)
    model = get_model("resnet50", weights=None).eval()
    if frozen:
        model.requires_grad_(False).get_submodule("layer4.2.bn3").requires_grad_(True)
    return model


def rounds_of(sides: Mapping[str, Map], pixels: Tensor, rounds: int) -> dict[str, list[float]]:
    """CPU seconds of each side, one after the other, the order turned each time."""
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for number in range(rounds + 1):
        for side in list(sides)[:: 1 if number % 2 else -1]:
            start = time.process_time()
            sides[side](pixels)
            if number:  # the first warms up
                seconds[side].append(time.process_time() - start)
    return seconds


def main() -> None:
    parser = turns.parser(__doc__ or "", rounds=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    options: argparse.Namespace = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = []
    for frozen in (False, True):
        for batch in options.batch:
            pixels = torch.randn(batch, 3, 224, 224, generator=torch.Generator().manual_seed(1))
            plain = resnet50(frozen)
            sides: dict[str, Map] = {"plain pass": torch.no_grad()(plain)}
            sides |= {side: make(resnet50(frozen)) for side, make in SIDES.items()}
            maps = {side: sides[side](pixels).detach() for side in SIDES}
            worst = max(
                float((one - maps["ours"]).abs().max() / maps["ours"].abs().max()) for one in maps.values()
            )
            if not worst <= 1e-5:
                raise SystemExit(f"The maps differ by {worst:.1e}: no ratio means anything.")
            seconds = rounds_of(sides, pixels, options.rounds)
            for side in SIDES:
                of_pass = spread([a / b for a, b in zip(seconds[side], seconds["plain pass"], strict=True)])
                ratio = spread([a / b for a, b in zip(seconds[side], seconds["ours"], strict=True)])
                rows.append(
                    [
                        "frozen" if frozen else "as used",
                        str(batch),
                        side,
                        f"{spread(seconds[side])['median']:.3f}",
                        turns.percentiles(of_pass),
                        "" if side == "ours" else turns.percentiles(ratio),
                    ]
                )
                print(" | ".join(rows[-1]), flush=True)
    header = ["weights", "images", "side", "CPU s", "× one pass", "peer ÷ ours"]
    load = f"load average {os.getloadavg()[0]:.0f}"
    machine = (
        f"{options.threads} thread, {options.rounds} rounds, {load}, torch {torch.__version__}, "
        + ", ".join(f"{name} {version}" for name, version in versions().items())
    )
    print(turns.publish("feature_cams", "Grad-CAM beside its peers", [*TEXT, f"{machine}."], header, rows))


def versions() -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in ("grad-cam", "torchcam", "torchvision")}


if __name__ == "__main__":
    main()
