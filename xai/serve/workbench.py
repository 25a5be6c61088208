"""What the page works with: one model, the images that were given, and what was found out about them.

All of it is in memory, and gone when the program ends or the image is removed. The page is told of every
change by an event; `snapshot` has them all, for a page that comes later.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from secrets import token_hex
from threading import RLock
from typing import Any

import numpy as np

from xai.core import Explanation, ModelError, Sample, UsageError, XaiError, nearest
from xai.core.language import gettext, ngettext
from xai.data import shipped_samples
from xai.explanation import Failure
from xai.explanation.removal import remove_regions
from xai.models import Classifier
from xai.perturb import Stream
from xai.report.about import without_folders
from xai.serve.held import HeldImage, image_event, map_event, region_event
from xai.serve.jobs import Job, JobWorker, Stopped, Tell
from xai.serve.model import LoadedModel, ServeSettings, free_memory
from xai.serve.saving import File, configuration, page_file, picture
from xai.serve.uploads import Limits, decode

MOST_DRAWS = 199
FILES = 3  # that wait to be fetched


class Workbench:
    """The state behind the page.

    Args:
        models: Name → what loads it; the first is loaded at once.
        settings: Of explanations.
        limits: Of uploads.
        tell: Is called, from any thread, with every change.
    """

    def __init__(
        self,
        models: Mapping[str, Callable[[], Classifier]],
        settings: ServeSettings,
        limits: Limits,
        tell: Tell,
    ):
        self.models = models
        self.settings = settings
        self.limits = limits
        self.model: LoadedModel | None = None
        self.images: dict[str, HeldImage] = {}
        self.files: dict[str, File] = {}
        self._uploads: dict[str, Sample] = {}
        self._pixels: dict[str, int] = {}
        self._tell = tell
        self._state: dict[str, Any] = {}
        self._lock, self._adding = RLock(), RLock()
        self.worker = JobWorker(tell)
        self.choose_model(next(iter(models)))

    def snapshot(self) -> dict[str, Any]:
        """Everything as it is now, JSON-ready."""
        with self._lock:
            return {
                "kind": "hello",
                "models": [{"name": name, "words": without_folders(name)} for name in self.models],
                "model": self._state,
                "images": [one.told for one in self.images.values()],
                "maps": [
                    map_event(image_id, key, found)
                    for image_id, one in self.images.items()
                    for key, found in one.explanations.items()
                ],
                "jobs": self.worker.jobs(),
            }

    def close(self) -> None:
        """Stop all work and forget everything."""
        self.worker.close()
        with self._lock:
            self.images.clear()
            self.files.clear()
            self._uploads.clear()

    # What is asked for: each of these returns at once.

    def choose_model(self, name: str) -> str:
        """Load a model in the place of the one in memory; maps of that are forgotten.

        Raises:
            UsageError: The page does not offer it.
        """
        if name not in self.models:
            raise UsageError(f"Unknown model {name!r}.", nearest(name, self.models))
        what = gettext("Loading the model {name}", name=name)
        return self._submit(what, self._load(name))

    def add(self, content: bytes, name: str) -> str:
        """Hold an upload, and have the model look at it.

        Raises:
            DataError: It is no image, or too large.
            UsageError: There are as many already as are taken.
        """
        with self._adding:  # also while it is decoded: two at once could together be too large
            self._check_room(1)
            image = decode(content, name, 1_000_000 * self.limits.megapixels - sum(self._pixels.values()))
            return self._hold(Sample(id=name, image=image))

    def add_shipped(self) -> list[str]:
        """Hold the shipped images, forged ones first, as far as they are not held yet."""
        with self._adding:
            held = {sample.id for sample in self._uploads.values()}
            samples = [one for one in shipped_samples() if one.id not in held]
            self._check_room(len(samples))
            samples.sort(key=lambda one: one.label or "")
            return [self._hold(replace(one, path=None)) for one in samples]

    def remove(self, image_id: str) -> None:
        """Forget an image, with all that was found about it."""
        with self._lock:
            upload = self._held(image_id).upload
            del self.images[image_id]
            if all(one.upload != upload for one in self.images.values()):
                self._forget(upload)
        self._tell({"kind": "removed", "id": image_id})

    def explain(self, image_ids: Sequence[str], methods: Sequence[str]) -> str:
        """Explain images with methods, image by image.

        Raises:
            UsageError: An image or method that there is not.
        """
        model = self._loaded()
        for key in methods:
            model.explainer(key)
        for image_id in image_ids:
            self._held(image_id)
        if not image_ids or not methods:
            raise UsageError(
                gettext("There is nothing to explain."), gettext("Choose an image and a method.")
            )
        what = ngettext("Explaining {n} image", "Explaining {n} images", len(image_ids))
        steps = self._explaining(model, list(image_ids), list(methods))
        return self._submit(what, steps, total=len(image_ids) * len(methods))

    def remove_region(self, image_id: str, cells: Sequence[int], target: str, draws: int, seed: int) -> str:
        """Ask the model without some patches, and without as many random ones `draws` times.

        Raises:
            UsageError: An image, class or patch that there is not.
        """
        model, held = self._loaded(), self._held(image_id)
        answer = held.answer
        patches = answer.grid[0] * answer.grid[1]
        if not all(0 <= cell < patches for cell in cells) or not 0 <= draws <= MOST_DRAWS:
            raise UsageError(f"Patches are 0 to {patches - 1}, random regions 0 to {MOST_DRAWS}.")
        index = model.class_index(target)
        region = np.zeros(patches, bool)
        region[list(cells)] = True
        steps = self._removing(model, image_id, region.reshape(1, *answer.grid), index, draws, seed)
        what = gettext("Removing patches")
        if draws:
            what = ngettext("Removing {n} random region", "Removing {n} random regions", draws)
        return self._submit(what, steps, urgent=True, group=None if draws else f"region {image_id}")

    def save(self, kind: str, image_ids: Sequence[str], methods: Sequence[str], target: str | None) -> str:
        """Make a file: "picture", "page" or "configuration".

        Raises:
            UsageError: Nothing was explained that it could hold.
        """
        model = self._loaded()
        rows = [
            {key: held.explanations[key] for key in methods if key in held.explanations}
            for image_id in image_ids
            for held in [self._held(image_id)]
        ]
        rows = [row for row in rows if row]
        if not rows:
            raise UsageError(gettext("There is nothing to save yet."), gettext("Explain an image first."))
        make = {"picture": picture, "page": page_file, "configuration": configuration}
        if kind not in make:
            raise UsageError(f"There is no {kind!r} to save.", nearest(kind, make))
        job_id = token_hex(8)
        steps = self._saving(job_id, model, make[kind], rows, target)
        return self._submit(gettext("Making the file"), steps, job_id, urgent=True)

    # The work itself, in the worker's thread.

    def _load(self, name: str) -> Iterator[None]:
        with self._lock:
            self.model = None
            for image_id in list(self.images):
                del self.images[image_id]
        self._tell_state({"name": name, "state": "loading"})
        free_memory()
        try:
            classifier = self.models[name]()
            with self.worker.stoppable(classifier):
                model = LoadedModel(name, classifier, self.settings)
        except BaseException:  # also when it is cancelled; the job says why
            self._tell_state({"name": name, "state": "failed"})
            raise
        with self._lock:
            self.model = model
            uploads = {upload: sample.id for upload, sample in self._uploads.items()}
        self._tell_state({"state": "ready"} | model.describe())
        for upload, image_name in uploads.items():
            self._look(upload, image_name)
        yield

    def _looking(self, upload: str) -> Iterator[None]:
        """Find the faces of an upload, if that is to be done, and ask the model of it or of each."""
        with self._lock:
            model, sample = self.model, self._uploads.get(upload)
            looked_at = any(one.upload == upload for one in self.images.values())
        if model is None or sample is None or looked_at:  # it was removed; or the model's loading comes to it
            return
        try:
            with self.worker.stoppable(model.classifier):
                found = [sample] if model.faces is None else list(model.faces([sample]))
                for place, one in enumerate(found):
                    if isinstance(one, Failure):
                        raise one.error
                    self._see(model, upload, one, upload if len(found) == 1 else f"{upload}-{place}")
        except (XaiError, Stopped):  # what nobody sees must not count against the limits
            with self._lock:
                self._forget(upload)
            raise
        yield

    def _see(self, model: LoadedModel, upload: str, sample: Sample, image_id: str) -> None:
        answer = model.answer(sample)
        explained = self.settings.target if isinstance(self.settings.target, list) else []
        held = HeldImage(upload, sample, answer, image_event(image_id, sample, answer, explained))
        with self._lock:
            if upload not in self._uploads:
                return
            self.images[image_id] = held
        self._tell(held.told)

    def _forget(self, upload: str) -> None:
        self._uploads.pop(upload, None)
        self._pixels.pop(upload, None)

    def _explaining(self, model: LoadedModel, image_ids: list[str], methods: list[str]) -> Iterator[None]:
        for image_id in image_ids:
            for key in methods:
                held = self.images.get(image_id)
                if held is None or self.model is not model:
                    return
                if key not in held.explanations:
                    self._explain(model, image_id, held, key)
                yield

    def _explain(self, model: LoadedModel, image_id: str, held: HeldImage, key: str) -> None:
        try:
            with self.worker.stoppable(model.classifier):
                (found,) = model.explainer(key).explain([held.sample])
            if isinstance(found, Failure):
                raise found.error
        except XaiError as error:
            told = {"image": image_id, "method": key, "message": error.message, "hint": error.hint}
            self._tell({"kind": "unexplained"} | told)
            return
        with self._lock:
            if self.images.get(image_id) is not held:  # it was removed meanwhile
                return
            held.explanations[key] = found
        self._tell(map_event(image_id, key, found))

    def _removing(
        self, model: LoadedModel, image_id: str, region: np.ndarray, target: int, draws: int, seed: int
    ) -> Iterator[None]:
        with self.worker.stoppable(model.classifier):
            pixels = model.batch(model.prepare(self._held(image_id).sample))
            operator = model.operator(pixels)
            stream = Stream(model.classifier, batch_size=self.settings.batch_size, seed=seed)
            found = remove_regions(stream, operator, pixels, target, region, "brushed region", draws)
        label = model.classifier.labels[target]
        self._tell(region_event(image_id, label, region, operator.name, found, seed))
        yield

    def _saving(
        self,
        job_id: str,
        model: LoadedModel,
        make: Callable[[LoadedModel, list[dict[str, Explanation]], str | None], File],
        rows: list[dict[str, Explanation]],
        target: str | None,
    ) -> Iterator[None]:
        with self.worker.stoppable(model.classifier):
            file, file_id = make(model, rows, target), token_hex(8)
        with self._lock:
            while len(self.files) >= FILES:
                del self.files[next(iter(self.files))]
            self.files[file_id] = file
        self._tell({"kind": "file", "job": job_id, "id": file_id, "name": file.name, "type": file.media_type})
        yield

    # What there is.

    def _submit(self, what: str, steps: Iterator[None], job_id: str | None = None, **more: Any) -> str:
        job = Job(job_id or token_hex(8), what, steps, **more)
        self.worker.submit(job)
        return job.id

    def _hold(self, sample: Sample) -> str:
        upload = token_hex(8)
        with self._lock:
            self._uploads[upload] = sample
            self._pixels[upload] = sample.image.width * sample.image.height
        self._look(upload, sample.id)
        return upload

    def _look(self, upload: str, name: str) -> None:
        # uploads are limited already, and one that is not looked at would be held without being seen
        what = gettext("Looking at {name}", name=name)
        self._submit(what, self._looking(upload), urgent=True, limited=False)

    def _check_room(self, more: int) -> None:
        if len(self._uploads) + more > self.limits.images:
            raise UsageError(
                gettext("At most {n} images are held at once.", n=self.limits.images),
                gettext("Remove some, or start xai serve with a larger --max-images."),
            )

    def _loaded(self) -> LoadedModel:
        model = self.model
        if model is None:
            raise ModelError(gettext("No model is loaded."), gettext("Wait until it is, or choose another."))
        return model

    def _held(self, image_id: str) -> HeldImage:
        if image_id not in self.images:
            raise UsageError(gettext("The image is not held any more."), gettext("Add it again."))
        return self.images[image_id]

    def _tell_state(self, state: dict[str, Any]) -> None:
        with self._lock:
            self._state = state
        self._tell({"kind": "model"} | state)
