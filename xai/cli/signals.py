"""SIGINT and SIGTERM end a command alike: what is being written goes, what is written stays."""

import signal
from types import FrameType

_received: signal.Signals | None = None


def catch() -> None:
    """Let both raise KeyboardInterrupt from now on, unless the caller ignores them (nohup)."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _interrupt)


def interrupted() -> int:
    """The exit code after KeyboardInterrupt: 130 for SIGINT, 143 for SIGTERM, as shells count."""
    return 128 + (_received or signal.SIGINT)


def received() -> bool:
    """Whether there was one."""
    return _received is not None


def _interrupt(number: int, frame: FrameType | None) -> None:
    global _received
    _received = signal.Signals(number)
    if number == signal.SIGTERM:
        signal.signal(number, signal.SIG_IGN)  # once is enough: the next would hit the tidying up
    raise KeyboardInterrupt
