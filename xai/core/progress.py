"""How far a long call is: a bar on a terminal and in notebooks, nothing where nobody watches."""

import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Result = TypeVar("Result")
DELAY = 1.0  # seconds: a bar that comes and goes is only in the way


@contextmanager
def progress(total: int | None, what: str, show: bool | None = None) -> Iterator[Callable[..., object]]:
    """Show a bar as long as the block runs; yields the function to call after each step, or after several.

    Args:
        total: Steps; None: unknown.
        what: Stands before the bar.
        show: Whether it is shown, then at once; None: on a terminal and in a notebook, to who has to wait.
    """
    if not (is_watched() if show is None else show):
        yield lambda steps=1: None
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # without ipywidgets a notebook shows the bar as text
        from tqdm.auto import tqdm
    with tqdm(desc=what, total=total, leave=False, delay=0 if show else DELAY) as bar:
        yield bar.update


def counted(
    results: Iterable[Result], total: int | None, what: str, show: bool | None = None
) -> Iterator[Result]:
    """Hand results on as they come, with a bar that counts them; see `progress`."""
    with progress(total, what, show) as step:
        for result in results:
            step()
            yield result


def is_watched() -> bool:
    """Whether stderr is a terminal, or a notebook shows what a call says."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return sys.stderr.isatty() or (shell is not None and "IPKernelApp" in shell.config)
