"""Clusters of features: the fine-grained labels (Larsson et al., ICCV 2019, section 3.1)."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from torch.nn import functional

from fgsn_ros.errors import OutputError, TrainingError
from fgsn_ros.outputs import whole_file

Features = NDArray[np.float32]

_CHUNK_BYTES = 64_000_000
_KMEANS_ITERATIONS = 20
_SPLIT_ITERATIONS = 5
_SPLIT_ROUNDS = 4
_SPLIT = 0.02  # distance of the halves of a split cluster, on the unit sphere
_RIDGE = 1e-3  # share of the mean variance
_SHARPNESS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
_CONFIDENCE = 0.5  # sharper, the first disturbed images would cost more than training repays


class FeatureStore:
    """Rows of float32 that are added once and read again and again, in a file without a name.

    Raises:
        OutputError: the disk is full or cannot be written.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """Keep the rows in `folder`, or where temporary files are."""
        self._folder = folder
        self._count = 0
        self._dimension = 0
        try:
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        except OSError as error:
            raise self._refused(error) from error

    def __enter__(self) -> "FeatureStore":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        return self._count

    @property
    def dimension(self) -> int:
        """Numbers in a row."""
        return self._dimension

    def add(self, rows: Features) -> None:
        """Add rows (N, D); D is that of the first rows."""
        if self._count == 0:
            self._dimension = rows.shape[1]
        assert rows.shape[1] == self._dimension
        try:
            self._file.write(np.ascontiguousarray(rows, np.float32).tobytes())
            self._file.flush()
        except OSError as error:
            raise self._refused(error) from error
        self._count += len(rows)

    def rows(self) -> Features:
        """All rows (N, D), mapped into memory: read when they are used, and let go again."""
        shape = (self._count, self._dimension)
        return np.memmap(self._file, np.float32, "r", shape=shape)

    def chunks(self) -> Iterator[Features]:
        """The rows in order, some (n, D) at a time."""
        rows = self.rows()
        step = max(1, _CHUNK_BYTES // (4 * self._dimension))
        for start in range(0, self._count, step):
            yield np.array(rows[start : start + step])

    def _refused(self, error: OSError) -> OutputError:
        place = self._folder or tempfile.gettempdir()
        return OutputError(f"cannot keep features in {place}: {error.strerror}; free space")


@dataclass(frozen=True)
class Clusters:
    """PCA whitening of features, L2 normalisation, and cluster centres."""

    mean: Tensor  # (D,)
    projection: Tensor  # (D, d), whitening
    centres: Tensor  # (K, d)

    def project(self, features: Tensor) -> Tensor:
        """Whitened features (N, d) of length 1 of features (N, D)."""
        return functional.normalize((features - self.mean) @ self.projection, dim=1)

    def assign(self, features: Tensor) -> Tensor:
        """Nearest centre (N,) of features (N, D)."""
        similarity: Tensor = self.project(features) @ self.centres.T
        # half the squared distance, negated, up to a constant of the row
        return (similarity - 0.5 * self.centres.square().sum(dim=1)).argmax(dim=1)

    def to(self, device: torch.device) -> "Clusters":
        """The clusters on a device."""
        return Clusters(self.mean.to(device), self.projection.to(device), self.centres.to(device))

    def soft_assignment(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Weight (K, D) and bias (K,) of logits whose softmax softly assigns features (N, D).

        As sharp as gives a mean confidence; their highest is the nearest centre but for each
        feature's own length.
        """
        whitened = (features - self.mean) @ self.projection
        length = whitened.norm(dim=1).mean().clamp(min=1e-6)
        weight = (self.projection @ self.centres.T).T / length
        bias = -weight @ self.mean - 0.5 * self.centres.square().sum(dim=1)
        logits = features @ weight.T + bias
        for sharpness in _SHARPNESS:
            if (sharpness * logits).softmax(dim=1).amax(dim=1).mean() >= _CONFIDENCE:
                break
        return sharpness * weight, sharpness * bias

    def reordered(self, order: NDArray[np.int64]) -> "Clusters":
        """The clusters with centre `order[k]` as number k."""
        return Clusters(self.mean, self.projection, self.centres[torch.from_numpy(order)])

    def save(self, path: Path) -> None:
        """Write mean, projection and centres as a safetensors file.

        Raises:
            OutputError: the file cannot be written.
        """
        arrays = {
            "mean": self.mean.cpu().numpy(),
            "projection": self.projection.cpu().numpy(),
            "centres": self.centres.cpu().numpy(),
        }
        with whole_file(path) as temporary:
            save_file(arrays, temporary)


def cluster(
    features: FeatureStore, count: int, dimensions: int, seed: int, smallest: float = 0.0
) -> Clusters:
    """Whiten, normalise and cluster features (N, D) into `count` clusters with k-means.

    Memory is bounded: features and whitened features are on disk, and read in pieces.

    Args:
        features: To cluster.
        count: Number of clusters K.
        dimensions: Whitened dimensions d; less where the features' rank is.
        seed: Of the first centres.
        smallest: Share of N / K below which a cluster is made anew, of a half of the largest one.

    Raises:
        FgsnError: fewer features than clusters, all of them the same, or a full disk.
    """
    if len(features) < count:
        raise TrainingError(
            f"{len(features)} features cannot make {count} clusters; "
            "raise clustering.features_per_image, add images, or lower label_count"
        )
    mean, projection = whitening(features, dimensions)
    with FeatureStore() as projected:
        for chunk in features.chunks():
            projected.add(_normalised((chunk - mean) @ projection))
        centres = without_tiny(_kmeans(projected.rows(), count, seed), projected.rows(), smallest)
    arrays = (mean, projection, centres)
    return Clusters(*(torch.from_numpy(np.ascontiguousarray(array)) for array in arrays))


def whitening(features: FeatureStore, dimensions: int) -> tuple[Features, Features]:
    """Mean (D,) and projection (D, d) to unit covariance; d is less than asked where the rank is.

    Raises:
        TrainingError: the features are not finite or do not vary.
    """
    total = np.zeros(features.dimension)
    products = np.zeros((features.dimension, features.dimension))
    shift = np.asarray(features.rows()[0], np.float64)  # keeps the products' digits
    for chunk in features.chunks():
        centred = chunk - shift
        total += centred.sum(axis=0)
        products += centred.T @ centred
    if not np.isfinite(products).all():
        raise TrainingError("features are not finite; lower learning_rate or take another init")
    offset = total / len(features)
    variance, axes = np.linalg.eigh(products / len(features) - np.outer(offset, offset))
    order = np.argsort(variance)[::-1][:dimensions]
    order = order[variance[order] > 1e-6 * max(variance[-1], 1e-12)]
    if len(order) == 0:
        raise TrainingError("features do not vary; train longer or take another init")
    projection = axes[:, order] / np.sqrt(variance[order])
    return (shift + offset).astype(np.float32), projection.astype(np.float32)


@torch.no_grad()
def set_classifier(layer: nn.Conv2d, clusters: Clusters, features: Tensor, inputs: Tensor) -> None:
    """Set the last layer to softly assign features to clusters.

    Args:
        layer: 1x1 convolution, C to K channels.
        clusters: K of them.
        features: (N, D) to be sharp enough on.
        inputs: (N, C) what enters the layer for them; where a ReLU is between, the layer comes as
            near as it can (ridge regression).
    """
    weight, bias = clusters.soft_assignment(features)
    if not torch.equal(inputs, features):
        weight, bias = _regressed(inputs, features @ weight.T + bias)
    layer.weight.copy_(weight[:, :, None, None])
    assert layer.bias is not None
    layer.bias.copy_(bias)


def _regressed(inputs: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
    """Weight (K, C) and bias (K,) that best give logits (N, K) of inputs (N, C)."""
    mean, offset = inputs.double().mean(dim=0), logits.double().mean(dim=0)
    centred = inputs.double() - mean
    products = centred.T @ centred
    products.diagonal().add_(_RIDGE * products.diagonal().mean())
    weight = torch.linalg.solve(products, centred.T @ (logits.double() - offset)).T
    return weight, offset - weight @ mean


def match(old: NDArray[np.int64], new: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Order (K,) of new clusters that gives most features their old number again.

    Args:
        old: (N,) number of each feature's old label, below `count`.
        new: (N,) number of each feature's new cluster, below `count`.
        count: Number of clusters K.
    """
    shared = np.bincount(old * count + new, minlength=count * count).reshape(count, count)
    return np.asarray(linear_sum_assignment(shared, maximize=True)[1], np.int64)


def without_tiny(centres: Features, rows: Features, smallest: float) -> Features:
    """Centres (K, d) where each tiny cluster's is put into a half of one of the largest.

    Args:
        centres: (K, d).
        rows: (N, d) features that they are the centres of.
        smallest: Share of N / K below which a cluster is tiny.
    """
    limit = smallest * len(rows) / len(centres)
    for seed in range(_SPLIT_ROUNDS):
        sizes = np.bincount(_nearest(rows, centres), minlength=len(centres))
        tiny = np.flatnonzero(sizes < limit)
        if len(tiny) == 0:
            break
        large = np.argsort(sizes)[::-1][: len(tiny)]
        step = _SPLIT * _normalised(np.random.default_rng(seed).normal(size=centres[large].shape))
        moved = centres.copy()
        moved[tiny], moved[large] = centres[large] + step, centres[large] - step
        centres = _kmeans(rows, len(centres), seed, moved)
    return centres


def _normalised(rows: NDArray[np.floating]) -> Features:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, 1e-12), np.float32)


def _kmeans(rows: Features, count: int, seed: int, centres: Features | None = None) -> Features:
    """Centres (K, d) by Lloyd's steps of faiss, from random rows or from given centres."""
    kmeans = faiss.Kmeans(
        rows.shape[1],
        count,
        niter=_KMEANS_ITERATIONS if centres is None else _SPLIT_ITERATIONS,
        seed=seed,
        min_points_per_centroid=1,  # faiss splits a large cluster where one is empty
        max_points_per_centroid=2**30,
    )
    kmeans.train(rows, init_centroids=centres)
    return np.asarray(kmeans.centroids, np.float32)


def _nearest(rows: Features, centres: Features) -> NDArray[np.int64]:
    index = faiss.IndexFlatL2(centres.shape[1])
    index.add(centres)
    return np.asarray(index.search(rows, 1)[1][:, 0], np.int64)
