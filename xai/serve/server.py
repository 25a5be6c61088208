"""The server: on this machine alone, until it is interrupted."""

import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from secrets import token_urlsafe
from types import FrameType

import uvicorn

from xai.core import UsageError
from xai.models import Classifier
from xai.serve.app import Listeners, make_app
from xai.serve.model import ServeSettings
from xai.serve.uploads import Limits

ADDRESS = "127.0.0.1"
PATIENCE = 3  # seconds that requests which run have when it is interrupted


class PageServer(uvicorn.Server):
    """Serves the page on this machine's own address, until it is interrupted.

    Args:
        models: Name → what loads it; the first is loaded at once.
        settings: Of explanations.
        limits: Of uploads.
        port: 0 for any that is free.

    Attributes:
        address: Of the page; holds the secret token.

    Raises:
        UsageError: The port cannot be had.
    """

    def __init__(
        self,
        models: dict[str, Callable[[], Classifier]],
        settings: ServeSettings,
        limits: Limits,
        port: int = 0,
    ):
        self._listening = _listening(port)
        port = self._listening.getsockname()[1]
        token, self._listeners = token_urlsafe(32), Listeners()
        hosts = [f"{name}:{port}" for name in (ADDRESS, "localhost")]
        self.address = f"http://{ADDRESS}:{port}/{token}/"
        super().__init__(
            uvicorn.Config(
                make_app(models, settings, limits, token, hosts, self._listeners),
                access_log=False,  # which would write the token down
                date_header=False,
                log_config=None,
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=PATIENCE,
                ws="none",
            )
        )

    def serve_page(self) -> None:
        """Serve until `stop`, SIGINT or SIGTERM; the model's work ends at its next forward pass."""
        with self._listening:
            self.run(sockets=[self._listening])

    def stop(self) -> None:
        """End in good order: streams of events first, which else would keep it from ending."""
        self.should_exit = True
        self._listeners.close()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """What a signal does: the first ends it in good order, the second at once."""
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.stop()


def _listening(port: int) -> socket.socket:
    """A socket that listens on this machine's own address."""
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    with suppress(OSError):
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((ADDRESS, port))
        found.listen()
    except (OSError, OverflowError) as error:
        found.close()
        reason = getattr(error, "strerror", None) or error
        raise UsageError(
            f"Port {port} cannot be had: {reason}.", "Give another --port, or none for one that is free."
        ) from None
    return found
