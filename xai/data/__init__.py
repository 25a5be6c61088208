"""Images in: files, boxes, and what is known about them. Never imports torch."""

from xai.data.find import find_images, find_videos, is_video, unique_ids, unique_stems
from xai.data.forgeries import forged_samples, shipped_photos
from xai.data.image import as_shown, read_image
from xai.data.manifest import Row, check_box, load_samples, parse_box, read_boxes, read_manifest
from xai.data.moving_forgery import ClipFrame, demo_clip
from xai.data.samples import Entry, LazySamples, shipped_samples

__all__ = [
    "ClipFrame",
    "Entry",
    "LazySamples",
    "Row",
    "as_shown",
    "check_box",
    "demo_clip",
    "find_images",
    "find_videos",
    "forged_samples",
    "is_video",
    "load_samples",
    "parse_box",
    "read_boxes",
    "read_image",
    "read_manifest",
    "shipped_photos",
    "shipped_samples",
    "unique_ids",
    "unique_stems",
]
