"""A work item, and what its parts are called in a run's folder; reading a run needs no more of the plan."""

import re
from dataclasses import dataclass

MAPS, CHECKS = "maps", "checks"  # stand where the others have a protocol's name
SURVEY = "survey"  # likewise, and the only one of its run
PRECISION = "full precision"  # likewise; the name of no protocol has a space
MEASURED_DTYPE = "bfloat16, error measured"  # in the identity of a run, where others have their autocast
MAPS_NAME = re.compile(r".+/\d{1,9}", re.DOTALL)
"""Of a tensor of maps: method configuration, place among the shapes of the images."""


@dataclass(frozen=True)
class WorkItem:
    """One shard of images × all methods × one protocol; batches never cross it.

    Args:
        key: Digest of all that its records depend on.
        shard: Number of the shard.
        start: First image, by its place in the data.
        stop: One past the last image.
        protocol: Name, or `maps`, `checks`, `full precision` or `survey`.
        forwards: Forward passes of perturbed images, at most.
    """

    key: str
    shard: int
    start: int
    stop: int
    protocol: str
    forwards: int

    @property
    def images(self) -> range:
        """Places in the data."""
        return range(self.start, self.stop)
