"""Word of Numba's compiling, which holds a first run up: its kernels are kept for the next ones."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from numba.core import event
from tqdm import tqdm


@contextmanager
def compilation_said(about_s: int) -> Iterator[None]:
    """Say once, on stderr, when a kernel is compiled in a `with` block, in whatever thread.

    `about_s`: seconds that all the command's kernels take on one idle core.
    """
    with event.install_listener("numba:compile", _Saying(about_s)):
        yield


class _Saying(event.Listener):
    """Speaks at the first compilation; Numba tells of none that its cache makes needless."""

    def __init__(self, about_s: int) -> None:
        self._about_s = about_s
        self._said = False

    def on_start(self, _: event.Event) -> None:
        if not self._said:
            self._said = True
            text = f"compiling kernels for this machine, about {self._about_s} s, on a first run"
            tqdm.write(text, file=sys.stderr)

    def on_end(self, _: event.Event) -> None:
        pass
