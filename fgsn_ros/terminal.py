"""What a command says, and how it is told to end."""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from tqdm import tqdm

from fgsn_ros.errors import escaped, one_line

_SIGNALS = (signal.SIGTERM, signal.SIGHUP)
_AGAIN_S = 2.0


class Terminated(KeyboardInterrupt):
    """A signal asked the process to end; like Ctrl-C nothing but the command line catches it."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number = number


@contextmanager
def orderly_end() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into `Terminated`, so that temporary files go before the process.

    A signal that is ignored, as by nohup, stays so. One that follows within two seconds, as when a
    terminal closes, does not disturb what the first one began.
    """
    last = -_AGAIN_S

    def end(number: int, _: FrameType | None) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _AGAIN_S:
            last = now
            raise Terminated(number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    taken = [number for number in _SIGNALS if before[number] is signal.SIG_DFL]
    try:
        for number in taken:
            signal.signal(number, end)
        yield
    finally:
        for number in taken:
            signal.signal(number, before[number])


@contextmanager
def warnings_said() -> Iterator[None]:
    """Print what the package logs as a warning, each on a line of its own.

    As Python does by itself, not where somebody else handles what is logged.
    """
    if logging.getLogger().hasHandlers():
        yield
        return
    handler = _Lines(logging.WARNING)
    logger = logging.getLogger("fgsn_ros")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


class _Lines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        text = one_line(record.getMessage())
        with suppress(OSError):
            tqdm.write(f"fgsn: {record.levelname.lower()}: {text}", file=sys.stderr)


def prepare_streams() -> None:
    """Make standard output and error take any text, and be there."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by who started us
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def say(text: str) -> None:
    """Print lines for the user; what files put into them cannot command the terminal."""
    print("\n".join(map(escaped, text.split("\n"))), flush=True)


def complain(message: str) -> None:
    """Print the one line that tells why a command ended."""
    with suppress(OSError):
        print("fgsn:", one_line(message), file=sys.stderr, flush=True)


def end_output() -> None:
    """Write what is left to standard output.

    Raises:
        OSError: it cannot be written; Python will not try again when it ends.
    """
    try:
        sys.stdout.flush()
    except OSError:
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


def end_progress_bars() -> None:
    """End the line of each bar that an error left open, so that what follows has its own."""
    for bar in list(getattr(tqdm, "_instances", ())):
        bar.close()
