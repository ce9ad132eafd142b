"""Networks as ONNX graphs and files, checked against PyTorch."""

import inspect
import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fgsn_ros.config import require
from fgsn_ros.errors import OutputError
from fgsn_ros.outputs import whole_file
from fgsn_ros.segmentation.checkpoint import Checkpoint, OnnxNetwork, onnx_checkpoint
from fgsn_ros.segmentation.label_network import (
    AnySizeLogits,
    LabelNetwork,
    LogitNetwork,
    norms_after_convolutions,
)
from fgsn_ros.segmentation.runtime import (
    CONFIDENCE,
    IMAGE,
    LABELS,
    LOGITS,
    SIDES,
    require_onnx,
)
from fgsn_ros.segmentation.segmenter import Segmenter, SegmenterSettings

OPSET = 17
"""Version of the ONNX operators: TensorRT 8.6 and ONNX Runtime 1.13 know it."""
LEAST_EQUAL = 0.999
"""Share of the labels that must be those of PyTorch."""
_TRACED_PX = 64, 96
"""Size of the image with which a graph for any is traced: a multiple of any network's."""
_SMALLEST_PACKED = 1024
"""Values; smaller arrays are not worth the nodes that make float32 of them."""


def export_onnx(
    path: Path,
    checkpoint: Checkpoint,
    size: tuple[int, int] | None,
    stride: int = 4,
    overwrite: bool = True,
) -> float:
    """Write a network as an ONNX file that is a checkpoint; the share of labels as PyTorch's.

    For images of any size: input `image`, RGB, uint8 (1, H, W, 3), H and W being multiples of
    16 for LR-ASPP; output `logits`, float32 (1, ceil(H/8), ceil(W/8), K). Of a checkpoint rounded
    to float16, weights are stored as such. For one size: the same input; outputs `labels`, int32,
    and `confidence`, float32, both (1, ceil(H/stride), ceil(W/stride)).

    Args:
        path: To write.
        checkpoint: Of PyTorch's network.
        size: H and W [px]; none: any.
        stride: Of the labels of images of one size [px].
        overwrite: Replace a file that is there; without it, it is refused.

    Raises:
        SettingsError: onnx is not installed, or the network takes images of one size only.
        OutputError: the file cannot be written, or labels another way than PyTorch.
    """
    require_onnx("export")
    if size is None:
        require(
            checkpoint.network.traits.any_size,
            f"{checkpoint.architecture} is exported for images of one size: give --width and "
            "--height",
        )
        file = onnx_checkpoint(
            checkpoint, _packed(any_size_graph(checkpoint), checkpoint), None, None
        )
        sizes: tuple[tuple[int, int], ...] = (_TRACED_PX, (77, 130))
    else:
        labels = LabelNetwork(LogitNetwork(checkpoint, stride))
        graph = _traced(labels, size, (LABELS, CONFIDENCE))
        file, sizes = onnx_checkpoint(checkpoint, graph, size, stride), (size,)
    equal = min(_share_as_pytorch(path, file, checkpoint, size, stride, each) for each in sizes)
    if equal < LEAST_EQUAL:
        raise OutputError(
            f"only {100 * equal:.2f} % of the exported network's labels are those of PyTorch; "
            f"{path} is not written: another version of torch or onnxruntime may help"
        )
    with whole_file(path, overwrite) as temporary:
        temporary.write_bytes(file)
    return equal


def any_size_graph(checkpoint: Checkpoint) -> bytes:
    """Logits at the stride of the features of images that are filled up, of any size."""
    return _traced(AnySizeLogits(LogitNetwork(checkpoint, None)), _TRACED_PX, (LOGITS,), SIDES)


def logit_graph(checkpoint: Checkpoint, stride: int | None, height: int, width: int) -> bytes:
    """Logits of images of one size, as of `LogitNetwork`."""
    return _traced(LogitNetwork(checkpoint, stride), (height, width), (LOGITS,))


def _traced(
    network: nn.Module,
    size: tuple[int, int],
    outputs: tuple[str, ...],
    open_sides: tuple[str, ...] = (),
) -> bytes:
    """ONNX of a network that takes an RGB image uint8 (1, H, W, 3).

    Args:
        network: Its poolings are replaced by equal ones that ONNX has.
        size: H and W of the image [px].
        outputs: Names of what it gives.
        open_sides: Names of H and W, where they are to stay open.
    """
    _replace_pools(network.eval())
    export: Any = torch.onnx.export  # whose signature differs between versions
    # the exporter by tracing: a tenth of the time of the other, which PyTorch 2.5 began to offer
    traced = {"dynamo": False} if "dynamo" in inspect.signature(export).parameters else {}
    file = io.BytesIO()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of sizes becoming constants, which is what is asked for
        export(
            network,
            (torch.zeros(1, *size, 3, dtype=torch.uint8),),
            file,
            input_names=[IMAGE],
            output_names=list(outputs),
            dynamic_axes={IMAGE: dict(enumerate(open_sides, 1))} if open_sides else None,
            opset_version=OPSET,
            **traced,
        )
    return file.getvalue()


class _PoolByProducts(nn.Module):
    """AdaptiveAvgPool2d as two matrix products; ONNX has none for cells of different sizes."""

    def __init__(self, cells: int) -> None:
        super().__init__()
        self.cells = cells

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = (torch.from_numpy(_pool_shares(int(n), self.cells)) for n in x.shape[2:])
        return torch.matmul(rows.to(x.dtype), torch.matmul(x, columns.to(x.dtype).T))


def _pool_shares(size: int, cells: int) -> NDArray[np.float32]:
    """(cells, size): what AdaptiveAvgPool1d takes of each of `size` values for each cell."""
    shares = np.zeros((cells, size), np.float32)
    for cell in range(cells):
        first, end = cell * size // cells, -(-(cell + 1) * size // cells)
        shares[cell, first:end] = 1.0 / (end - first)
    return shares


def _replace_pools(network: nn.Module) -> None:
    for parent in list(network.modules()):
        for name, module in list(parent.named_children()):
            cells = module.output_size if isinstance(module, nn.AdaptiveAvgPool2d) else 1
            if isinstance(cells, int) and cells > 1:
                setattr(parent, name, _PoolByProducts(cells))


def _packed(graph: bytes, checkpoint: Checkpoint) -> bytes:
    """The graph with weights as float16 where those of the checkpoint are, and nodes that fold.

    The folding multiplies a convolution's weights with a factor for each of its outputs, here as
    there: what a session computes of the constants are the same float32 to the bit.
    """
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load_from_string(graph)
    packed = dict(_half_weights(checkpoint))
    nodes, kept = [], []
    for initializer in model.graph.initializer:
        name = initializer.name
        if name not in packed:
            kept.append(initializer)
            continue
        weight, factor = packed[name]
        kept.append(numpy_helper.from_array(weight, f"{name}.half"))
        single = name if factor is None else f"{name}.single"
        nodes.append(
            helper.make_node("Cast", [f"{name}.half"], [single], to=onnx.TensorProto.FLOAT)
        )
        if factor is not None:
            kept.append(numpy_helper.from_array(factor, f"{name}.factor"))
            nodes.append(helper.make_node("Mul", [single, f"{name}.factor"], [name]))
    nodes.extend(model.graph.node)
    for field, content in ((model.graph.initializer, kept), (model.graph.node, nodes)):
        del field[:]
        field.extend(content)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _half_weights(
    checkpoint: Checkpoint,
) -> Iterator[tuple[str, tuple[NDArray[np.float16], NDArray[np.float32] | None]]]:
    """Weights of convolutions that float16 holds, by name in the graph; what folding multiplies."""
    network = checkpoint.network
    factors = {
        getattr(module, convolution): _folding_factor(getattr(module, norm))
        for module, convolution, norm in norms_after_convolutions(network)
    }
    for name, module in network.named_modules():
        if not isinstance(module, nn.Conv2d) or module.weight.numel() < _SMALLEST_PACKED:
            continue
        weight = module.weight.detach().numpy()
        half = weight.astype(np.float16)
        if np.array_equal(half, weight):
            yield f"logits.network.{name}.weight", (half, factors.get(module))


def _folding_factor(norm: nn.BatchNorm2d) -> NDArray[np.float32]:
    """(O, 1, 1, 1), as `fuse_conv_bn_eval` computes it."""
    assert norm.running_var is not None
    factor = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    return np.asarray(factor.detach().view(-1, 1, 1, 1))


def _share_as_pytorch(
    path: Path,
    file: bytes,
    checkpoint: Checkpoint,
    size: tuple[int, int] | None,
    stride: int,
    tested: tuple[int, int],
) -> float:
    """Share of the labels of a test image that are those of PyTorch."""
    network = OnnxNetwork(
        path,
        checkpoint.architecture,
        checkpoint.label_count,
        checkpoint.fingerprint,
        file,
        size,
        None if size is None else stride,
    )
    image = _test_image(*tested)
    of_graph = SegmenterSettings("cpu", stride, "onnx")
    plain = SegmenterSettings("cpu", stride, "eager")
    labels = Segmenter(Checkpoint(network), of_graph).segment(image).labels
    return float(np.mean(labels == Segmenter(checkpoint, plain).segment(image).labels))


def _test_image(height: int, width: int) -> NDArray[np.uint8]:
    """Coarse and fine noise (H, W, 3)."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 192, (-(-height // 32), -(-width // 32), 3), np.uint8)
    fine = rng.integers(0, 64, (height, width, 3), np.uint8)
    fine += coarse.repeat(32, axis=0).repeat(32, axis=1)[:height, :width]
    return fine
