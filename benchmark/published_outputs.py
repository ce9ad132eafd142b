"""Outputs of the published FGSN code beside ours, on random weights saved from its model.

    python benchmark/published_outputs.py --published CHECKOUT

CHECKOUT is a clone of github.com/maunzzz/fine-grained-segmentation-networks (CC BY-NC), which is
run from there; it needs scikit-image. PSPNet on ResNet-101, both of its trunks, random weights with
batch statistics of the image; the main and the auxiliary head's features and logits, without
drop-out. In float64: a random network of a hundred layers amplifies float32's rounding, also that
of the input, which is compared first. Prints the largest difference beside the largest output.
"""

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from torch import nn

from fgsn_ros.segmentation.networks.start_weights import initial_network
from fgsn_ros.training.model import Model

LABELS = 100
OUTPUTS = ("features", "auxiliary features", "logits", "auxiliary logits")


@dataclass(frozen=True)
class PublishedOutputs:
    """Compare outputs."""

    published: Path
    """clone of the published code"""
    size: tuple[int, int] = (145, 209)
    """height and width of the image [px]"""

    def run(self) -> None:
        """Print the table."""
        sys.path.insert(0, str(self.published))
        image = _image(*self.size)
        print("| trunk | output | largest difference | largest output |\n| --- | --- | --- | --- |")
        for original in (False, True):
            network = _published(original, image)
            with tempfile.TemporaryDirectory() as name, torch.no_grad():
                path = Path(name) / "weights.pth"
                torch.save(network.state_dict(), path)
                inputs, ours = _ours(path, image)
                assert (inputs.flip(1) - _bgr(image)).abs().max() < 1e-4
                theirs = network.double()(inputs.flip(1))
            trunk = "torchvision's order" if original else "Caffe's"
            for output, first, second in zip(OUTPUTS, theirs, ours, strict=True):
                difference = float((first - second).abs().max())
                print(f"| {trunk} | {output} | {difference:.1e} | {float(first.abs().max()):.2g} |")


def _image(height: int, width: int) -> np.ndarray:
    """Smooth noise (H, W, 3)."""
    import cv2

    coarse = np.random.default_rng(0).integers(0, 256, (height // 16, width // 16, 3), np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))


def _bgr(image: np.ndarray) -> torch.Tensor:
    """The image as the published code takes it."""
    from models.model_configs import PspnetCityscapesConfig

    return torch.as_tensor(PspnetCityscapesConfig().input_transform(image))[None]


def _published(original: bool, image: np.ndarray) -> nn.Module:
    """Their network; in training mode it gives features and logits of both heads."""
    from models.pspnet import PSPNetClustering

    torch.manual_seed(0)
    network = PSPNetClustering(n_classes=LABELS, output_all=True, use_original_base=original)
    network.train()
    with torch.no_grad():
        for _ in range(3):  # statistics of the image, so that features keep their size
            network(torch.cat([_bgr(image), _bgr(image[:, ::-1].copy())]))
    for module in network.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.Dropout2d)):
            module.eval()
    return network


def _ours(path: Path, image: np.ndarray) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    """Our input, and features and logits of both heads."""
    network, mean, std = initial_network(None, LABELS, path, torch.Generator())
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
    images = Model(network.eval(), mean, std).normalised(pixels).double()
    network.double()
    main, auxiliary = network.features_and_auxiliary(images)
    assert auxiliary is not None
    logits = network.classify(main), network.classify_auxiliary(auxiliary)
    return images, (main, auxiliary, *logits)


if __name__ == "__main__":
    tyro.cli(PublishedOutputs).run()
