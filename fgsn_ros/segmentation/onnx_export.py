"""Networks as ONNX files, checked against PyTorch."""

import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from fgsn_ros.errors import OutputError
from fgsn_ros.outputs import whole_file
from fgsn_ros.segmentation.checkpoint import Checkpoint
from fgsn_ros.segmentation.label_network import LabelNetwork, LogitNetwork
from fgsn_ros.segmentation.onnx_backend import onnx_session, require_onnx
from fgsn_ros.segmentation.onnx_graph import INPUT, onnx_graph

OUTPUTS = ("labels", "confidence")
LEAST_EQUAL = 0.999
"""Share of the labels that must be those of PyTorch."""


def export_onnx(path: Path, checkpoint: Checkpoint, stride: int, height: int, width: int) -> float:
    """Write a network as an ONNX file for images of one size; the share of labels as PyTorch's.

    Input `image`: RGB, uint8 (1, H, W, 3). Outputs `labels`, int32, and `confidence`, float32,
    both (1, ceil(H/stride), ceil(W/stride)). The file's metadata names the label set: fingerprint,
    label_count, stride, architecture, kind, label_names (JSON).

    Raises:
        SettingsError: onnx or ONNX Runtime is not installed.
        OutputError: the file cannot be written, or labels another way than PyTorch.
    """
    require_onnx("export")
    graph = onnx_graph(_network(checkpoint, stride), height, width, OUTPUTS)
    image = _test_image(height, width)
    labels = onnx_session(graph, torch.get_num_threads()).run(["labels"], {INPUT: image})[0]
    with torch.inference_mode():
        expected = _network(checkpoint, stride)(torch.from_numpy(image))[0].numpy()
    equal = float(np.mean(labels == expected))
    if equal < LEAST_EQUAL:
        raise OutputError(
            f"only {100 * equal:.2f} % of the exported network's labels are those of PyTorch; "
            f"{path} is not written: another version of torch or onnxruntime may help"
        )
    with whole_file(path) as temporary:
        temporary.write_bytes(_with_metadata(graph, _metadata(checkpoint, stride)))
    return equal


def _network(checkpoint: Checkpoint, stride: int) -> LabelNetwork:
    return LabelNetwork(LogitNetwork(checkpoint, stride)).eval()


def _test_image(height: int, width: int) -> NDArray[np.uint8]:
    """Coarse and fine noise (1, H, W, 3)."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 192, (-(-height // 32), -(-width // 32), 3), np.uint8)
    fine = rng.integers(0, 64, (1, height, width, 3), np.uint8)
    fine += coarse.repeat(32, axis=0).repeat(32, axis=1)[:height, :width]
    return fine


def _metadata(checkpoint: Checkpoint, stride: int) -> dict[str, str]:
    return {
        "fingerprint": checkpoint.fingerprint,
        "label_count": str(checkpoint.label_count),
        "stride": str(stride),
        "architecture": checkpoint.architecture,
        "kind": checkpoint.kind,
        "label_names": json.dumps(checkpoint.label_names),
    }


def _with_metadata(graph: bytes, metadata: dict[str, str]) -> bytes:
    import onnx

    model = onnx.load_from_string(graph)
    onnx.helper.set_model_props(model, metadata)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
