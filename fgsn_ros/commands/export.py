"""`fgsn export`: a network as an ONNX file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from fgsn_ros.config import require
from fgsn_ros.outputs import check_output
from fgsn_ros.segmentation.checkpoint import load_checkpoint
from fgsn_ros.segmentation.onnx_export import export_onnx
from fgsn_ros.segmentation.onnx_graph import OPSET

_LARGEST_PX = 16384


@dataclass(frozen=True)
class Export:
    """Write a network as an ONNX file for images of one size: for TensorRT and other runtimes.

    Input: `image`, RGB, uint8 (1, H, W, 3), as a camera gives it; normalisation is inside.
    Outputs, one value for each cell of `stride` pixels: `labels`, int32, and `confidence`,
    float32, (1, ceil(H / stride), ceil(W / stride)). Opset 17. The metadata holds fingerprint,
    label_count, stride, architecture, kind and label_names. Checked against PyTorch.
    For TensorRT: trtexec --onnx=X.onnx --fp16 --saveEngine=X.engine
    """

    checkpoint: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="CHECKPOINT")]
    """trained network (.safetensors)"""
    output: Path
    """ONNX file to make"""
    height: int = 480
    """height of the images [px], in [8, 16384]"""
    width: int = 640
    """width of the images [px], in [8, 16384]"""
    stride: int = 4
    """pixels per label cell: 4, 8 or 16; maps are made at 4"""
    overwrite: bool = False
    """replace the file"""

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("height", "width"):
            require(
                8 <= getattr(self, name) <= _LARGEST_PX, f"{name} must be in [8, {_LARGEST_PX}]"
            )
        require(self.stride in (4, 8, 16), "stride must be 4, 8 or 16")

    def run(self) -> None:
        """Write the file."""
        check_output(self.output, self.overwrite)
        checkpoint = load_checkpoint(self.checkpoint)
        equal = export_onnx(self.output, checkpoint, self.stride, self.height, self.width)
        print(
            f"{self.output}: {checkpoint.architecture} with {checkpoint.label_count} labels for "
            f"{self.width}x{self.height} images, stride {self.stride}, opset {OPSET}; "
            f"{100 * equal:.2f} % of the labels as PyTorch's"
        )
