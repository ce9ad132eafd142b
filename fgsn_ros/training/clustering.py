"""Clusters of features: the fine-grained labels (Larsson et al., ICCV 2019, section 3.1)."""

from dataclasses import dataclass

import faiss
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from fgsn_ros.errors import TrainingError

_KMEANS_ITERATIONS = 20
_SHARPNESS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
_CONFIDENCE = 0.5  # sharper, the first disturbed images would cost more than training repays


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
        return self._similarity(self.project(features)).argmax(dim=1)

    def _similarity(self, projected: Tensor) -> Tensor:
        """Half the squared distance to each centre, negated, up to a constant of the row."""
        return projected @ self.centres.T - 0.5 * self.centres.square().sum(dim=1)

    def to(self, device: torch.device) -> "Clusters":
        """The clusters on a device."""
        return Clusters(self.mean.to(device), self.projection.to(device), self.centres.to(device))

    def initialise(self, classifier: nn.Conv2d, features: Tensor) -> None:
        """Set a 1x1 classifier to soft assignment; exact but for each feature's own length.

        Args:
            classifier: D to K channels, changed in place.
            features: (N, D) to choose the sharpness on, by its mean confidence.
        """
        whitened = (features - self.mean) @ self.projection
        length = float(whitened.norm(dim=1).mean().clamp(min=1e-6))
        weight = (self.projection @ self.centres.T).T / length
        bias = -weight @ self.mean - 0.5 * self.centres.square().sum(dim=1)
        logits = features @ weight.T + bias
        for sharpness in _SHARPNESS:
            if (sharpness * logits).softmax(dim=1).amax(dim=1).mean() >= _CONFIDENCE:
                break
        with torch.no_grad():
            classifier.weight.copy_(sharpness * weight[:, :, None, None])
            assert classifier.bias is not None
            classifier.bias.copy_(sharpness * bias)


def cluster(features: NDArray[np.float32], count: int, dimensions: int, seed: int) -> Clusters:
    """Whiten, normalise and cluster features (N, D) into `count` clusters with k-means.

    Raises:
        TrainingError: there are fewer features than clusters, or they are all the same.
    """
    if len(features) < count:
        raise TrainingError(
            f"{len(features)} features cannot make {count} clusters; "
            "raise features_per_image, add images, or lower label_count"
        )
    mean, projection = whitening(features, dimensions)
    projected = (features - mean) @ projection
    projected /= np.maximum(np.linalg.norm(projected, axis=1, keepdims=True), 1e-12)
    kmeans = faiss.Kmeans(
        projected.shape[1],
        count,
        niter=_KMEANS_ITERATIONS,
        seed=seed,
        min_points_per_centroid=1,  # faiss splits a large cluster where one is empty
        max_points_per_centroid=2**30,
    )
    kmeans.train(np.ascontiguousarray(projected, np.float32))
    return Clusters(
        torch.from_numpy(mean), torch.from_numpy(projection), torch.from_numpy(kmeans.centroids)
    )


def whitening(
    features: NDArray[np.float32], dimensions: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean (D,) and projection (D, d) to unit covariance; d is less than asked where the rank is.

    Raises:
        TrainingError: the features are not finite or do not vary.
    """
    if not np.isfinite(features).all():
        raise TrainingError("features are not finite; lower learning_rate or take another init")
    mean = features.mean(axis=0, dtype=np.float64)
    centred = features - mean
    variance, axes = np.linalg.eigh(centred.T @ centred / len(features))
    order = np.argsort(variance)[::-1][:dimensions]
    order = order[variance[order] > 1e-6 * max(variance[-1], 1e-12)]
    if len(order) == 0:
        raise TrainingError("features do not vary; train longer or take another init")
    projection = axes[:, order] / np.sqrt(variance[order])
    return mean.astype(np.float32), projection.astype(np.float32)
