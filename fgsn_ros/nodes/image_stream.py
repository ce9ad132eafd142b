"""A stream of images: the place where the newest one waits, and what became of them all."""

import threading
from collections import Counter, deque
from typing import Generic, TypeVar

import numpy as np

WINDOW_S = 5.0
"""Time over which the rate is counted [s]."""
_TIMES_KEPT = 50

Item = TypeVar("Item")


class NewestPlace(Generic[Item]):
    """Holds the newest item until a worker takes it; made for two threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._item: Item | None = None
        self._closed = False

    def put(self, item: Item) -> bool:
        """Leave an item; True if it replaced one that nobody took."""
        with self._changed:
            replaced = self._item is not None
            self._item = item
            self._changed.notify()
        return replaced

    def take(self) -> Item | None:
        """Wait for an item and take it; None once the place is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._item is not None)
            item, self._item = self._item, None
            return None if self._closed else item

    @property
    def closed(self) -> bool:
        """Whether it is of no more use."""
        return self._closed

    def close(self) -> None:
        """Let the worker go."""
        with self._changed:
            self._closed = True
            self._changed.notify()


class ImageStatistics:
    """Counts images and times; a clock that jumps back starts rate and times anew.

    All times are in seconds of one clock. The counts are since the start. May be used from two
    threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.counts: Counter[str] = Counter()
        """Images by what became of them; all that came are `received`."""
        self._restart()

    def received(self, stamp: float, now: float) -> None:
        """Note an image captured at `stamp`."""
        with self._lock:
            self._follow(now)
            self.counts["received"] += 1
            self._arrivals.append(now)
            self._stamp = stamp

    @property
    def stamp(self) -> float | None:
        """When the newest image was captured [s]; None before the first."""
        return self._stamp

    def count(self, fate: str) -> None:
        """Note what became of an image."""
        with self._lock:
            self.counts[fate] += 1

    def published(self, stamp: float) -> None:
        """Note that the labels of the image captured at `stamp` went out."""
        with self._lock:
            self.counts["published"] += 1
            self._published = stamp

    def took(self, step: str, duration: float) -> None:
        """Note how long a step took [s]."""
        with self._lock:
            self._times.setdefault(step, deque(maxlen=_TIMES_KEPT)).append(duration)

    def rate(self, now: float) -> float:
        """Images received per second over the last `WINDOW_S`."""
        with self._lock:
            self._follow(now)
            while self._arrivals and self._arrivals[0] < now - WINDOW_S:
                self._arrivals.popleft()
            if len(self._arrivals) < 2:
                return 0.0
            span = self._arrivals[-1] - self._arrivals[0]
            return (len(self._arrivals) - 1) / span if span > 0.0 else 0.0

    def age(self, now: float) -> float | None:
        """Time since the newest image was captured; None before the first."""
        with self._lock:
            self._follow(now)
            return None if self._stamp is None else now - self._stamp

    def behind(self) -> float | None:
        """Time from the newest image whose labels went out to the newest one; None before both."""
        with self._lock:
            if self._stamp is None or self._published is None:
                return None
            return self._stamp - self._published

    def median_times(self) -> dict[str, float]:
        """Median of the last times of each step [s]."""
        with self._lock:
            return {step: float(np.median(times)) for step, times in self._times.items()}

    def _restart(self) -> None:
        self._now = float("-inf")
        self._stamp: float | None = None
        self._published: float | None = None
        self._arrivals: deque[float] = deque()
        self._times: dict[str, deque[float]] = {}

    def _follow(self, now: float) -> None:
        if now < self._now:
            self._restart()
        self._now = now
