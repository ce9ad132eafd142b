"""From the bytes of an image to logits and labels, as one graph."""

import torch
from torch import Tensor, nn

from fgsn_ros.segmentation.checkpoint import Checkpoint
from fgsn_ros.segmentation.folding import folded_copy
from fgsn_ros.segmentation.grids import on_grid
from fgsn_ros.segmentation.half_precision import use_half_precision
from fgsn_ros.segmentation.input_images import scale_and_shift


class LogitNetwork(nn.Module):
    """Normalisation, network and classifier, batch norm folded.

    A linear classifier and a linear interpolation may change places: the logits are then at the
    stride of the features, and so is the classifier's work, a quarter of that at stride 4. Else
    (PSPNet has a ReLU before its classifier) they are on the grid of the labels.

    Args:
        checkpoint: Its network is copied.
        stride: Of the labels [px].
        half: In half precision, where it changes few labels; for GPUs.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, checkpoint: Checkpoint, stride: int, half: bool = False) -> None:
        super().__init__()
        self.network = folded_copy(checkpoint.network)
        self.stride = stride
        scale, shift = scale_and_shift(checkpoint)
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)
        if half:
            use_half_precision(self.network)
        self.network.to(memory_format=torch.channels_last)
        self.requires_grad_(False)

    @property
    def at_features(self) -> bool:
        """Whether the logits are at the stride of the features, not at that of the labels."""
        return self.network.classifies_linearly

    def forward(self, image: Tensor) -> Tensor:
        """Logits (1, h, w, K) of an RGB image uint8 (1, H, W, 3)."""
        # a float before all else: TensorRT takes bytes in for nothing but this
        scaled = torch.addcmul(self.shift, image.float(), self.scale)
        features = self.network.features(scaled.permute(0, 3, 1, 2)).float()
        if not self.at_features:
            features = self.on_label_grid(features, image)
        return self.network.classify(features).permute(0, 2, 3, 1)

    def on_label_grid(self, features: Tensor, image: Tensor) -> Tensor:
        """Features or logits (1, D, h, w) of an image (1, H, W, 3) on the grid of the labels."""
        height, width = map(int, image.shape[1:3])
        return on_grid(features, self.network.first_cell_px, self.stride, height, width)


class LabelNetwork(nn.Module):
    """The same up to the labels.

    Args:
        logits: The network.
    """

    def __init__(self, logits: LogitNetwork) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Labels int32 and confidence float32, (1, h, w), of an RGB image uint8 (1, H, W, 3)."""
        logits = self.logits(image).permute(0, 3, 1, 2)
        if self.logits.at_features:
            logits = self.logits.on_label_grid(logits, image)
        highest, labels = logits.max(dim=1, keepdim=True)
        confidence = 1.0 / (logits - highest).exp().sum(dim=1)
        return labels[:, 0].to(torch.int32), confidence
