"""The addresses of the page: what the browser may ask for, and how it is told of changes."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from xai.core import UsageError, XaiError
from xai.core.errors import first_line
from xai.core.language import gettext
from xai.models import Classifier
from xai.serve.guard import Guard
from xai.serve.model import ServeSettings
from xai.serve.page import page_of
from xai.serve.uploads import Limits, TooLargeError, file_name, read_body
from xai.serve.workbench import Workbench

log = logging.getLogger(__name__)

BODY = 1_000_000  # bytes of a request that is no image
WAITING = 2_000  # events for a page that does not fetch them: it is told everything anew when it comes back
BEAT = 15.0  # seconds after which a line without meaning shows whether the page is still there
STATUS = {UsageError: 400, TooLargeError: 413}  # of other errors that the reader can mend: 422
# scripts of a page that was made here run without the rights of this address
SAVED_POLICY = "sandbox allow-scripts allow-downloads allow-modals; frame-ancestors 'none'"


class Asked(BaseModel):
    """What a request says."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


Kind = TypeVar("Kind", bound=Asked)


class AskedModel(Asked):
    """Which model is loaded."""

    name: str


class AskedMaps(Asked):
    """Which images are explained with what."""

    images: list[str] = Field(max_length=1000)
    methods: list[str] = Field(max_length=200)


class AskedRegion(Asked):
    """Which patches are taken away, and how often as many random ones."""

    image: str
    cells: list[int] = Field(max_length=100_000)
    target: str
    draws: int = 0
    seed: int = Field(0, ge=0, lt=2**32)


class AskedFile(Asked):
    """Which file is made."""

    what: str
    images: list[str] = Field(max_length=1000)
    methods: list[str] = Field(max_length=200)
    target: str | None = None


class Listeners:
    """The pages that are open; told of events from any thread, in order."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._queues: set[asyncio.Queue[dict[str, Any] | None]] = set()
        self._closed = False

    def tell(self, event: dict[str, Any]) -> None:
        """Hand an event to all pages; to be called from any thread."""
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._put, event)

    def close(self) -> None:
        """End every stream of events."""
        self._closed = True
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._put, None)

    async def events(self, first: Callable[[], dict[str, Any]]) -> AsyncIterator[str]:
        """Server-sent events: everything as it is now, then each change."""
        self._loop = asyncio.get_running_loop()
        queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue(WAITING)
        self._queues.add(queue)
        try:
            yield _sent(await run_in_threadpool(first))
            while not self._closed:
                try:
                    event = await asyncio.wait_for(queue.get(), BEAT)
                except TimeoutError:
                    yield ": beat\n\n"
                    continue
                if event is None:
                    return
                yield _sent(event)
        finally:
            self._queues.discard(queue)

    def _put(self, event: dict[str, Any] | None) -> None:
        for queue in list(self._queues):
            if queue.full():  # the page is told everything when it asks again
                self._queues.discard(queue)
                queue.get_nowait()
                queue.put_nowait(None)
            else:
                queue.put_nowait(event)


def make_app(
    models: dict[str, Callable[[], Classifier]],
    settings: ServeSettings,
    limits: Limits,
    token: str,
    hosts: Iterable[str],
    listeners: Listeners | None = None,
) -> Guard:
    """The application, guarded.

    Args:
        models: Name → what loads it; the first is loaded at once.
        settings: Of explanations.
        limits: Of uploads.
        token: First part of every path.
        hosts: What `Host` may say, with the port.
        listeners: The pages that are open; whoever holds it can end their streams.
    """
    listeners = listeners or Listeners()
    bench = Workbench(models, settings, limits, listeners.tell)

    async def index(request: Request) -> Response:
        text, policy = await run_in_threadpool(page_of, limits)
        return HTMLResponse(text, headers={"content-security-policy": policy})

    async def events(request: Request) -> Response:
        return StreamingResponse(listeners.events(bench.snapshot), media_type="text/event-stream")

    async def add(request: Request) -> Response:
        name = file_name(request.query_params.get("name", ""))
        most = limits.megabytes * 1_000_000
        hint = gettext("Save it smaller, or start xai serve with a larger --max-megabytes.")
        content = await read_body(request.stream(), most, name, hint)
        return JSONResponse({"image": await run_in_threadpool(bench.add, content, name)}, 201)

    async def add_shipped(request: Request) -> Response:
        return JSONResponse({"images": await run_in_threadpool(bench.add_shipped)}, 201)

    async def remove(request: Request) -> Response:
        bench.remove(request.path_params["id"])
        return JSONResponse({})

    async def explain(request: Request) -> Response:
        asked = await _read(request, AskedMaps)
        job = await run_in_threadpool(bench.explain, asked.images, asked.methods)
        return JSONResponse({"job": job}, 202)

    async def region(request: Request) -> Response:
        asked = await _read(request, AskedRegion)
        job = bench.remove_region(asked.image, asked.cells, asked.target, asked.draws, asked.seed)
        return JSONResponse({"job": job}, 202)

    async def model(request: Request) -> Response:
        asked = await _read(request, AskedModel)
        return JSONResponse({"job": bench.choose_model(asked.name)}, 202)

    async def save(request: Request) -> Response:
        asked = await _read(request, AskedFile)
        return JSONResponse({"job": bench.save(asked.what, asked.images, asked.methods, asked.target)}, 202)

    async def file(request: Request) -> Response:
        found = bench.files.get(request.path_params["id"])
        if found is None:
            return PlainTextResponse(gettext("This file is not held any more: save it again."), 404)
        headers = {
            "content-disposition": f"attachment; filename*=UTF-8''{quote(found.name)}",
            "content-security-policy": SAVED_POLICY,
        }
        return Response(found.content, media_type=found.media_type, headers=headers)

    async def cancel(request: Request) -> Response:
        return JSONResponse({"stopped": bench.worker.cancel(request.path_params["id"])})

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(bench.close)

    app = Starlette(
        routes=[
            Route("/", index),
            Route("/events", events),
            Route("/images", add, methods=["POST"]),
            Route("/shipped", add_shipped, methods=["POST"]),
            Route("/images/{id}", remove, methods=["DELETE"]),
            Route("/explain", explain, methods=["POST"]),
            Route("/region", region, methods=["POST"]),
            Route("/model", model, methods=["POST"]),
            Route("/save", save, methods=["POST"]),
            Route("/files/{id}", file),
            Route("/jobs/{id}", cancel, methods=["DELETE"]),
        ],
        exception_handlers={XaiError: _said, ClientDisconnect: _gone, Exception: _bug},
        lifespan=lifespan,
    )
    return Guard(app, token, hosts)


def _sent(event: dict[str, Any]) -> str:
    return f"data: {json.dumps(event, separators=(',', ':'))}\n\n"


async def _read(request: Request, kind: type[Kind]) -> Kind:
    """What a request says, checked."""
    content = await read_body(request.stream(), BODY, "request")
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        raise UsageError(f"The request is not what the page sends: {first_line(error)}.") from None


async def _said(request: Request, error: Exception) -> Response:
    """An error that is the reader's to mend."""
    if not isinstance(error, XaiError):
        raise error
    status = next((code for kind, code in STATUS.items() if isinstance(error, kind)), 422)
    return JSONResponse({"message": error.message, "hint": error.hint}, status)


async def _gone(request: Request, error: Exception) -> Response:
    """The page was closed while it sent something: nobody is there to be told, and it is no bug."""
    return Response(status_code=400)


async def _bug(request: Request, error: Exception) -> Response:
    log.error("A bug in xai: %s", request.url.path, exc_info=error)
    said = gettext("Internal error: {error}", error=f"{type(error).__name__}: {error}")
    return JSONResponse({"message": said, "hint": gettext("This is a bug in xai.")}, 500)
