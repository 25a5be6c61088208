"""What could not be explained, and why: one image's failure does not end the run."""

from dataclasses import dataclass

from xai.core import ModelError, XaiError


@dataclass(frozen=True)
class Failure:
    """An image that could not be explained.

    Args:
        name: The image's path as given, or the id of a sample.
        error: What was wrong, for people.
    """

    name: str
    error: XaiError

    def __post_init__(self) -> None:
        forget_frames(self.error)


def forget_frames(error: BaseException) -> None:
    """Drop the frames that an error holds on to, and with them images and tensors."""
    error.__traceback__ = error.__context__ = error.__cause__ = None


class OutOfMemoryError(ModelError):
    """Even one image does not fit into memory."""
