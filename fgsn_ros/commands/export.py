"""`fgsn export`: a network as an ONNX file, which is a checkpoint too."""

from dataclasses import dataclass
from pathlib import Path

from fgsn_ros.commands.paths import inputs_of
from fgsn_ros.config import require
from fgsn_ros.outputs import check_file
from fgsn_ros.segmentation.checkpoint import load_checkpoint
from fgsn_ros.terminal import say

_LARGEST_PX = 16384


@dataclass(frozen=True)
class Export:
    """Write a network as an ONNX file, which every command and node takes and needs no PyTorch.

    Input: `image`, RGB, uint8 (1, H, W, 3), as a camera gives it; normalisation is inside.
    Output: `logits` for images of any size. With --width and --height, for TensorRT and other
    runtimes, one value for each cell of `stride` pixels: `labels`, int32, and `confidence`,
    float32, (1, ceil(H / stride), ceil(W / stride)). Opset 17. Checked against PyTorch.
    The metadata are the checkpoint's: JSON under `fgsn` (fingerprint, label_count, stride, ...).
    For TensorRT: trtexec --onnx=X.onnx --fp16 --saveEngine=X.engine
    """

    checkpoint: Path
    """trained network (.safetensors)"""
    output: Path
    """ONNX file to make"""
    width: int | None = None
    """width of the images [px], in [8, 16384]; with --height, or neither: images of any size"""
    height: int | None = None
    """height of the images [px], in [8, 16384]"""
    stride: int | None = None
    """with --width and --height: pixels per label cell: 4 (the default), 8 or 16; maps are made
    at 4"""
    overwrite: bool = False
    """replace the file"""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require((self.width is None) == (self.height is None), "give both --width and --height")
        for name, size in (("height", self.height), ("width", self.width)):
            in_range = size is None or 8 <= size <= _LARGEST_PX
            require(in_range, f"{name} must be in [8, {_LARGEST_PX}]")
        require(self.stride in (None, 4, 8, 16), "stride must be 4, 8 or 16")
        given = self.stride is None or self.width is not None
        require(given, "--stride takes --width and --height; images of any size: segmenter.stride")

    def run(self) -> None:
        """Write the file."""
        check_file(self.output, self.overwrite, inputs_of(self))
        require(self.output.suffix == ".onnx", "the name of the output must end in .onnx")
        checkpoint = load_checkpoint(self.checkpoint)
        _ = checkpoint.network  # where there is no PyTorch, this says so
        from fgsn_ros.segmentation.onnx_export import OPSET, export_onnx

        stride, size, images = self.stride or 4, None, "images of any size"
        if self.width is not None and self.height is not None:
            size = self.height, self.width
            images = f"{self.width}x{self.height} images, stride {stride}"
        equal = export_onnx(self.output, checkpoint, size, stride, self.overwrite)
        say(
            f"{self.output}: {checkpoint.architecture} with {checkpoint.label_count} labels for "
            f"{images}, opset {OPSET}; {100 * equal:.2f} % of the labels as PyTorch's"
        )
