"""Networks as ONNX graphs for images of one size."""

import inspect
import io
import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

OPSET = 17
"""Version of the ONNX operators: TensorRT 8.6 and ONNX Runtime 1.13 know it."""
INPUT = "image"


def onnx_graph(network: nn.Module, height: int, width: int, outputs: tuple[str, ...]) -> bytes:
    """The ONNX file of a network that takes an RGB image uint8 (1, H, W, 3).

    Args:
        network: In evaluation mode; its poolings are replaced by equal ones that ONNX has.
        height: H [px].
        width: W [px].
        outputs: Names of what it gives.
    """
    _replace_pools(network)
    export: Any = torch.onnx.export  # whose signature differs between versions
    # the exporter by tracing: a tenth of the time of the other, which PyTorch 2.5 began to offer
    traced = {"dynamo": False} if "dynamo" in inspect.signature(export).parameters else {}
    file = io.BytesIO()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of sizes becoming constants, which is what is asked for
        export(
            network,
            (torch.zeros(1, height, width, 3, dtype=torch.uint8),),
            file,
            input_names=[INPUT],
            output_names=list(outputs),
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
