"""Losses of training, image by image.

Their mean over a batch is the same for all ways to split it over processes or accumulated steps.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from fgsn_ros.segmentation.networks import STRIDE
from fgsn_ros.training.grid import IGNORED


def cell_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """L_class: mean cross entropy (B,) of each image's cells (Larsson et al., ICCV 2019, eq. 2).

    Args:
        logits: (B, K, h, w).
        labels: (B, h, w) labels, or IGNORED.
    """
    losses = functional.cross_entropy(
        logits.float(), labels, ignore_index=IGNORED, reduction="none"
    )
    counts = (labels != IGNORED).flatten(1).sum(dim=1)
    return losses.flatten(1).sum(dim=1) / counts.clamp(min=1)


def class_losses(logits: Tensor, classes: Tensor, weights: Tensor, first_cell_px: float) -> Tensor:
    """Mean cross entropy (B,) of each image's pixels with their cells, weighted by class.

    Equals that of the logits up-sampled to nearest neighbours, without up-sampling.

    Args:
        logits: (B, K, h, w).
        classes: (B, H, W) class ids; ids from K on are ignored.
        weights: (K,) of the classes.
        first_cell_px: Pixel that the first cell is centred on.
    """
    shares = class_shares(classes, logits.shape[1], first_cell_px) * weights.view(1, -1, 1, 1)
    likelihoods = (shares * functional.log_softmax(logits.float(), dim=1)).flatten(1).sum(dim=1)
    return -likelihoods / shares.flatten(1).sum(dim=1).clamp(min=1e-6)


def class_shares(classes: Tensor, count: int, first_cell_px: float) -> Tensor:
    """Share (B, K, h, w) of each class in the STRIDE squared pixels nearest to each cell."""
    known = functional.one_hot(classes.long().clamp(max=count), count + 1)[..., :count]
    before = math.floor(STRIDE / 2 - first_cell_px)  # pixels of the first cell off the image
    height, width = classes.shape[1:]
    after = [-(length + before) % STRIDE for length in (height, width)]
    padding = (before, after[1], before, after[0])
    shares = functional.avg_pool2d(
        functional.pad(known.permute(0, 3, 1, 2).float(), padding), STRIDE
    )
    return shares[..., : -(-height // STRIDE), : -(-width // STRIDE)]


def point_losses(
    logits: Tensor, labels: Tensor, weights: Tensor, image: Tensor, count: int
) -> Tensor:
    """L_corr: mean cross entropy (count,) of each image's correspondences (ICCV 2019, eq. 3).

    Args:
        logits: (N, K) at the points.
        labels: (N,) at the reference points.
        weights: (N,) of the points.
        image: (N,) number of the image of each point.
        count: Number of images; one without points has 0.
    """
    losses = functional.cross_entropy(logits.float(), labels, reduction="none")
    return means_by_image(losses, weights, image, count)


def hinge_losses(
    reference: Tensor, target: Tensor, weights: Tensor, pair: Tensor, count: int, margin: float
) -> Tensor:
    """Mean hinge (count,) on each pair's corresponding features (Larsson et al., CVPR 2019).

    max(0, margin - cosine), over points that are in both images.

    Args:
        reference: (N, D) features at the points of reference images.
        target: (N, D) features at the same points in target images.
        weights: (N,) of the points.
        pair: (N,) number of the pair of each point.
        count: Number of pairs; one without points has 0.
        margin: Cosine from which features are alike enough.
    """
    cosines = functional.cosine_similarity(reference.float(), target.float(), dim=1)
    return means_by_image(functional.relu(margin - cosines), weights, pair, count)


def means_by_image(values: Tensor, weights: Tensor, image: Tensor, count: int) -> Tensor:
    """Weighted mean (count,) of each image's values (N,); 0 where there are none."""
    weights = weights.to(values.dtype)
    sums, totals = (
        torch.zeros(count, dtype=values.dtype, device=values.device).index_add(0, image, terms)
        for terms in (values * weights, weights)
    )
    return sums / totals.clamp(min=1e-6)
