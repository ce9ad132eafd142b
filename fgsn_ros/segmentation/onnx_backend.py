"""Logits by ONNX Runtime on the CPU."""

from collections import OrderedDict
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fgsn_ros.config import require
from fgsn_ros.segmentation.checkpoint import Checkpoint
from fgsn_ros.segmentation.label_network import LogitNetwork
from fgsn_ros.segmentation.onnx_graph import INPUT, onnx_graph

_SIZES_KEPT = 4
"""Sizes of images whose sessions are kept; each holds the weights."""


class OnnxLogits:
    """Logits (h, w, K) of an RGB image (H, W, 3), as of `LogitNetwork`.

    A graph is of one size: the first image of a size takes longer.

    Raises:
        SettingsError: ONNX Runtime or onnx is not installed.
    """

    def __init__(self, checkpoint: Checkpoint, stride: int, threads: int) -> None:
        require_onnx("backend onnx")
        self._checkpoint, self._stride = checkpoint, stride
        self._threads = threads or torch.get_num_threads()
        self._sessions: OrderedDict[tuple[int, int], Any] = OrderedDict()

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The logits."""
        size = image.shape[0], image.shape[1]
        if size not in self._sessions:
            network = LogitNetwork(self._checkpoint, self._stride)
            self._sessions[size] = onnx_session(
                onnx_graph(network, *size, ("logits",)), self._threads
            )
        self._sessions.move_to_end(size)
        if len(self._sessions) > _SIZES_KEPT:
            self._sessions.popitem(last=False)
        logits: NDArray[np.float32] = self._sessions[size].run(None, {INPUT: image[None]})[0]
        return np.asarray(logits[0])


def onnx_session(graph: bytes, threads: int) -> Any:
    """A session on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors
    # a thread that waits leaves its core to the filter
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def require_onnx(what: str) -> None:
    """Raise SettingsError unless ONNX Runtime and onnx are installed."""
    missing = [name for name in ("onnx", "onnxruntime") if find_spec(name) is None]
    require(not missing, f"{what} needs {' and '.join(missing)}; pip install {' '.join(missing)}")
