"""Segmentation networks whose features at stride 8 are clustered into fine-grained labels."""

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import mobilenet_v3_large
from torchvision.models.segmentation.lraspp import LRASPPHead

FEATURE_DIM = 128
STRIDE = 8
"""Pixels between neighbouring cells of features."""

_PADDED_MULTIPLE = 16  # stride of the high branch: both branches then cover the same pixels
_LOW_LAYER, _LOW_CHANNELS = 6, 40  # last layer of the backbone at stride 8
_HIGH_CHANNELS = 960


class FgsnNetwork(nn.Module):
    """LR-ASPP on MobileNetV3-Large (Howard et al., ICCV 2019), linear classifier on 128 features.

    Randomly initialised from `generator`; nothing is downloaded.
    """

    def __init__(self, label_count: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_draw_seed(generator))
            self.backbone: nn.Sequential = mobilenet_v3_large(weights=None, dilated=True).features
            head = LRASPPHead(_LOW_CHANNELS, _HIGH_CHANNELS, 1, FEATURE_DIM)
            self.high, self.gate = head.cbr, head.scale
            self.fuse = nn.Sequential(
                nn.Conv2d(FEATURE_DIM + _LOW_CHANNELS, FEATURE_DIM, 1, bias=False),
                nn.BatchNorm2d(FEATURE_DIM),
                nn.ReLU(inplace=True),
            )
            self.classifier = nn.Conv2d(FEATURE_DIM, label_count, 1)

    @property
    def label_count(self) -> int:
        """Number of labels K."""
        return self.classifier.out_channels

    def features(self, images: Tensor) -> Tensor:
        """Features (B, 128, ceil(H/8), ceil(W/8)) of normalised images (B, 3, H, W)."""
        height, width = images.shape[-2:]
        padding = (0, -width % _PADDED_MULTIPLE, 0, -height % _PADDED_MULTIPLE)
        x = functional.pad(images, padding, mode="replicate") if any(padding) else images
        low = x
        for index, layer in enumerate(self.backbone):
            x = layer(x)
            if index == _LOW_LAYER:
                low = x
        high = self.high(x) * self.gate(x)
        high = functional.interpolate(high, size=low.shape[-2:], mode="bilinear")
        fused: Tensor = self.fuse(torch.cat([high, low], dim=1))
        return fused[..., : -(-height // STRIDE), : -(-width // STRIDE)]

    def classify(self, features: Tensor) -> Tensor:
        """Logits (B, K, h, w) of features (B, 128, h, w)."""
        logits: Tensor = self.classifier(features)
        return logits

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, K, ceil(H/8), ceil(W/8)) of normalised images (B, 3, H, W)."""
        return self.classify(self.features(images))

    def reset_classifier(self, label_count: int, generator: torch.Generator | None = None) -> None:
        """Replace the classifier by a random one for `label_count` labels."""
        device = self.classifier.weight.device
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_draw_seed(generator))
            self.classifier = nn.Conv2d(FEATURE_DIM, label_count, 1).to(device)


def _draw_seed(generator: torch.Generator | None) -> int:
    if generator is None:
        return 0
    return int(torch.randint(2**62, (1,), generator=generator).item())
