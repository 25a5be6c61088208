"""Which modules of a model are running when it attends, and with what."""

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from xai.attention.intercept import ImageInterceptor


@dataclass(frozen=True, eq=False)
class Running:
    """A module that is running, and what it was given."""

    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class RunningModules:
    """Inside its `with` block: the modules of a model that are running.

    Args:
        model: The module that will be called.

    Attributes:
        now: The outermost first.
        tensors: What modules were given and gave so far, in that order; containers as they are.
    """

    def __init__(self, model: nn.Module):
        self.model = model
        self.now: list[Running] = []
        self.tensors: list[Any] = []
        self._hooks = ExitStack()

    def __enter__(self) -> "RunningModules":
        def enter(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            self.now.append(Running(module, args, kwargs))
            self.tensors.extend((*args, *kwargs.values()))

        def leave(module: nn.Module, args: Any, output: Any) -> None:
            self.now.pop()
            self.tensors.append(output)

        for module in self.model.modules():
            self._hooks.callback(module.register_forward_pre_hook(enter, with_kwargs=True).remove)
            self._hooks.callback(module.register_forward_hook(leave, always_call=True).remove)
        return self

    def __exit__(self, *error: Any) -> None:
        self._hooks.close()


class Watcher(ImageInterceptor):
    """Writes down, for every image attention call, the modules that were running, the outermost first.

    Args:
        model: The module that will be called.
        tokens: As in `ImageInterceptor`.

    Attributes:
        paths: Per image attention call, in the order of execution.
    """

    def __init__(self, model: nn.Module, tokens: int):
        super().__init__(tokens)
        self.paths: list[list[Running]] = []
        self._running = RunningModules(model)

    def attend_image(self, layer: int, query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Tensor:
        self.paths.append(list(self._running.now))
        return F.scaled_dot_product_attention(query, key, value, **options)

    def __enter__(self) -> "Watcher":
        self._running.__enter__()
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        self._running.__exit__()
        super().__exit__(*error)
