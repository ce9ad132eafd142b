"""Losses of semantic and fine-grained training."""

from torch import Tensor
from torch.nn import functional


def class_loss(logits: Tensor, classes: Tensor, weights: Tensor, stride: int) -> Tensor:
    """Cross entropy of cells against all pixels that they cover, weighted by class.

    Equals the mean over pixels of the logits up-sampled to nearest neighbours, without up-sampling.

    Args:
        logits: (B, K, h, w).
        classes: (B, h * stride, w * stride) class ids; ids from K on are ignored.
        weights: (K,) of the classes.
        stride: Pixels per cell.
    """
    count = logits.shape[1]
    known = functional.one_hot(classes.long().clamp(max=count), count + 1)[..., :count]
    shares = functional.avg_pool2d(known.permute(0, 3, 1, 2).float(), stride)
    shares = shares * weights.view(1, -1, 1, 1)
    likelihood = -(shares * functional.log_softmax(logits.float(), dim=1)).sum()
    return likelihood / shares.sum().clamp(min=1e-6)


def sample_cells(grid: Tensor, batch: Tensor, points: Tensor, stride: int) -> Tensor:
    """Bilinear values (N, C) of a grid (B, C, h, w) at image points; borders repeat.

    Args:
        grid: (B, C, h, w); cell (i, j) is centred on pixel stride * j + (stride - 1) / 2.
        batch: (N,) index of the image of each point.
        points: (N, 2) pixels (u, v).
        stride: Pixels per cell.
    """
    height, width = grid.shape[-2:]
    x = ((points[:, 0] + 0.5) / stride - 0.5).clamp(0, width - 1)
    y = ((points[:, 1] + 0.5) / stride - 0.5).clamp(0, height - 1)
    x0, y0 = x.floor().long().clamp(max=width - 1), y.floor().long().clamp(max=height - 1)
    x1, y1 = (x0 + 1).clamp(max=width - 1), (y0 + 1).clamp(max=height - 1)
    fx, fy = (x - x0)[:, None].to(grid.dtype), (y - y0)[:, None].to(grid.dtype)
    flat = grid.permute(0, 2, 3, 1).reshape(-1, grid.shape[1])
    base = batch * (height * width)

    def at(row: Tensor, column: Tensor) -> Tensor:
        return flat.index_select(0, base + row * width + column)

    top = at(y0, x0) * (1 - fx) + at(y0, x1) * fx
    bottom = at(y1, x0) * (1 - fx) + at(y1, x1) * fx
    return top * (1 - fy) + bottom * fy


def weighted_cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean cross entropy of logits (N, K) with labels (N,); 0 where there are none."""
    if len(labels) == 0:
        return logits.sum() * 0.0
    losses = functional.cross_entropy(logits.float(), labels, reduction="none")
    return (losses * weights).sum() / weights.sum().clamp(min=1e-6)
