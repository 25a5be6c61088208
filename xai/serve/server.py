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
from xai.serve.model import Settings
from xai.serve.uploads import Limits

ADDRESS = "127.0.0.1"
PATIENCE = 3  # seconds that requests which run have when it is interrupted


class _Server(uvicorn.Server):
    """Ends the streams of events when it is interrupted, which else would keep it from ending."""

    def __init__(self, config: uvicorn.Config, listeners: Listeners):
        super().__init__(config)
        self._listeners = listeners

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """What a signal does: the first ends it in good order, the second at once."""
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True
        self._listeners.close()


def serve(
    models: dict[str, Callable[[], Classifier]],
    settings: Settings,
    limits: Limits,
    port: int,
    say_address: Callable[[str], None],
) -> None:
    """Serve the page until SIGINT or SIGTERM.

    Args:
        models: Name → what loads it; the first is loaded at once.
        settings: Of explanations.
        limits: Of uploads.
        port: 0 for any that is free.
        say_address: Is given the address, which holds the secret token, once it can be asked.

    Raises:
        UsageError: The port cannot be had.
    """
    token, listeners = token_urlsafe(32), Listeners()
    with _listening(port) as listening:
        port = listening.getsockname()[1]
        hosts = [f"{name}:{port}" for name in (ADDRESS, "localhost")]
        app = make_app(models, settings, limits, token, hosts, listeners)
        config = uvicorn.Config(
            app,
            access_log=False,  # which would write the token down
            date_header=False,
            log_config=None,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=PATIENCE,
            ws="none",
        )
        say_address(f"http://{ADDRESS}:{port}/{token}/")
        _Server(config, listeners).run(sockets=[listening])


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
