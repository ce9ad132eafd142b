"""Images as networks take them."""

import torch
from torch import Tensor

from fgsn_ros.segmentation.checkpoint import IMAGENET_MEAN, IMAGENET_STD


def normalised(images: Tensor, device: torch.device) -> Tensor:
    """Float images (B, 3, H, W), channels last, of RGB uint8 ones: ImageNet's mean 0 and std 1."""
    mean = torch.tensor(IMAGENET_MEAN, device=device).view(1, 3, 1, 1)
    std = torch.tensor(IMAGENET_STD, device=device).view(1, 3, 1, 1)
    scaled = images.to(device).float().div_(255.0)
    return ((scaled - mean) / std).contiguous(memory_format=torch.channels_last)
