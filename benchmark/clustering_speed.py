"""Millions of features into a thousand labels: time and memory of `fgsn train`'s clustering.

    python benchmark/clustering_speed.py

Draws features of a mixture, writes them to the store that training uses, clusters them, and prints
time and the highest memory that is the process's own (the features on disk are read through the
page cache, which the system takes back when it needs memory). Beside the time stands that of the
distances alone: 20 steps of N x K x d products at the speed of a matrix product measured here.
"""

import threading
import time
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
import tyro

from fgsn_ros.training.clustering import FeatureStore, cluster

_STEPS = 20  # of k-means
_CHUNK = 100_000


@dataclass(frozen=True)
class Clustering:
    """Cluster random features."""

    features: int = 5_000_000
    """rows N"""
    dimension: int = 128
    """of a feature"""
    whitened: int = 64
    """dimensions d that are clustered"""
    labels: int = 1000
    """clusters K"""
    threads: int = 2
    """CPU threads"""

    def run(self) -> None:
        """Print the figures."""
        faiss.omp_set_num_threads(self.threads)
        with FeatureStore() as store, _MemoryWatch() as memory:
            self._fill(store)
            start = time.perf_counter()
            clusters = cluster(store, self.labels, self.whitened, 0, smallest=0.01)
            seconds = time.perf_counter() - start
        dimension = clusters.centres.shape[1]
        operations = 2.0 * _STEPS * self.features * self.labels * dimension
        features_mb = self.features * self.dimension * 4e-6
        print(
            f"{self.features} features of {self.dimension}, {dimension} whitened, into "
            f"{self.labels} labels: {seconds:.0f} s, at most {memory.highest_mb:.0f} MB of its own "
            f"(the features are {features_mb:.0f} MB); the distances alone would take "
            f"{operations / _product_speed(dimension):.0f} s"
        )

    def _fill(self, store: FeatureStore) -> None:
        rng = np.random.default_rng(0)
        centres = rng.normal(size=(3 * self.labels, self.dimension)).astype(np.float32)
        for first in range(0, self.features, _CHUNK):
            count = min(_CHUNK, self.features - first)
            noise = rng.standard_normal((count, self.dimension), dtype=np.float32)
            store.add(centres[rng.integers(len(centres), size=count)] + 0.3 * noise)


class _MemoryWatch:
    """The highest anonymous resident memory of this process [MB] while it is entered."""

    def __init__(self) -> None:
        self.highest_mb = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "_MemoryWatch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.05):
            lines = Path("/proc/self/status").read_text().splitlines()
            own = next(line for line in lines if line.startswith("RssAnon"))
            self.highest_mb = max(self.highest_mb, float(own.split()[1]) / 1000)


def _product_speed(dimension: int) -> float:
    """Operations a second of the matrix product that distances are made of."""
    rows, columns = np.ones((4096, dimension), np.float32), np.ones((dimension, 1000), np.float32)
    seconds = []
    for _ in range(10):
        start = time.perf_counter()
        rows @ columns
        seconds.append(time.perf_counter() - start)
    return 2.0 * rows.size * 1000 / min(seconds)


if __name__ == "__main__":
    tyro.cli(Clustering).run()
