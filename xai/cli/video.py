"""Videos in `xai explain`: which of the sources they are."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xai.core.language import gettext_noop


def videos_among(sources: Sequence[Any]) -> list[Path]:
    """The videos among what `gather` found.

    Raises:
        UsageError: There are some, and the extra `video` is not installed.
    """
    from xai.data import is_video
    from xai.video import require_av

    videos = [source for source in sources if isinstance(source, Path) and is_video(source)]
    if videos:
        require_av()
    return videos


def what_is_explained(images: Sequence[Any], videos: Sequence[Path]) -> str:
    """The sentence that counts what was explained, not yet translated."""
    if not videos:
        return gettext_noop("{n} of {total} images explained")
    if not images:
        return gettext_noop("{n} of {total} videos explained")
    return gettext_noop("{n} of {total} images and videos explained")
