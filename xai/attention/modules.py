"""A model's modules and parameters, which every map looks through several times."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


def modules_of(model: nn.Module) -> list[nn.Module]:
    """Every module of a model, each once; `model.modules()` also makes up their names, which takes longer."""
    found: dict[int, nn.Module] = {}
    waiting: list[nn.Module | None] = [model]
    while waiting:
        module = waiting.pop()
        if module is not None and id(module) not in found:
            found[id(module)] = module
            waiting.extend(module._modules.values())
    return list(found.values())


def parameters_of(model: nn.Module) -> Iterator[nn.Parameter]:
    """Every parameter of a model; shared ones come once for each module that has them."""
    for module in modules_of(model):
        for parameter in module._parameters.values():
            if parameter is not None:
                yield parameter


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Inside the block no parameter asks for a gradient; afterwards those do that did before."""
    trainable = [p for p in parameters_of(model) if p.requires_grad]
    try:
        for parameter in trainable:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)
