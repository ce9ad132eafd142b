"""One network by one backend, measured in a process of its own: the rows of networks.py."""

import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from fgsn_ros.segmentation.checkpoint import Checkpoint, load_checkpoint
from fgsn_ros.segmentation.label_network import LogitNetwork, on_grid
from fgsn_ros.segmentation.segmenter import Segmenter, SegmenterSettings

REFERENCE = "reference"
"""Not a backend: PyTorch, one plain step after the other."""
Images = NDArray[np.uint8]
_FEWEST, _MOST = 3, 200
_CASE, _IMAGES, _SPEED, _LABELS = "case.json", "images.npy", "speed.json", "labels.npy"


@dataclass(frozen=True)
class Case:
    """What is measured."""

    checkpoint: str
    width: int
    height: int
    backend: str
    device: str
    stride: int
    threads: int
    """0: as many as PyTorch takes"""
    seconds: float
    """how long to measure [s]; three images at least"""


@dataclass(frozen=True)
class Speed:
    """What was measured."""

    seconds: list[float]
    """of each image [s], from array to label map"""
    ready_s: float
    """from the checkpoint to the first label map [s]"""
    memory_mb: float
    """the process's largest resident memory, on a GPU the most that PyTorch had there [MB]"""
    imports_mb: float
    """the process's memory before the checkpoint was read [MB]"""
    labels: NDArray[np.uint16]
    """of the images"""
    gflop: float
    """of one image in the network, 2 for each multiplication [GFLOP]"""
    gflop_per_s: float
    """of a product of two large matrices, in the precision of the network [GFLOP/s]"""


def measured(case: Case, images: Images) -> Speed:
    """Measure in a new process, so that its memory is that of this case alone."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / _IMAGES, images)
        (folder / _CASE).write_text(json.dumps(dataclasses.asdict(case)))
        subprocess.run([sys.executable, "-W", "ignore", __file__, name], check=True)
        speed = json.loads((folder / _SPEED).read_text())
        return Speed(**speed, labels=np.load(folder / _LABELS))


def _measure_in(folder: Path) -> None:
    """The process of its own."""
    case = Case(**json.loads((folder / _CASE).read_text()))
    speed, labels = _measure(case, np.load(folder / _IMAGES))
    np.save(folder / _LABELS, labels)
    (folder / _SPEED).write_text(json.dumps(speed))


def _measure(case: Case, images: Images) -> tuple[dict[str, object], NDArray[np.uint16]]:
    """The fields of `Speed` but for the labels, and these."""
    if case.threads:
        torch.set_num_threads(case.threads)
    resized = [cv2.resize(image, (case.width, case.height)) for image in images]
    imports_mb = _memory_mb("VmRSS")
    checkpoint = load_checkpoint(Path(case.checkpoint))
    began = time.perf_counter()
    label = _labeller(case, checkpoint)
    label(resized[0])
    ready_s = time.perf_counter() - began
    labels, seconds = _timed(label, resized, case.seconds)
    speed: dict[str, object] = {"seconds": seconds, "ready_s": ready_s, "imports_mb": imports_mb}
    # before the rest, which takes more; the system's own record would count the parent's, too
    on_gpu = case.device == "cuda"
    speed["memory_mb"] = torch.cuda.max_memory_allocated() / 1e6 if on_gpu else _memory_mb("VmHWM")
    speed["gflop"] = _network_gflop(checkpoint, case)
    speed["gflop_per_s"] = _matmul_gflop_per_s(case.device)
    return speed, labels


def _labeller(case: Case, checkpoint: Checkpoint) -> Callable[[Images], NDArray[np.uint16]]:
    if case.backend == REFERENCE:
        return _Reference(checkpoint, case.stride).labels
    settings = SegmenterSettings(case.device, case.stride, case.backend, case.threads)
    segmenter = Segmenter(checkpoint, settings)
    return lambda image: segmenter.segment(image).labels


class _Reference:
    """Features, interpolated to the labels' grid, classified; maximum, soft-max."""

    def __init__(self, checkpoint: Checkpoint, stride: int) -> None:
        self._stride = stride
        self._logits = LogitNetwork(checkpoint, stride)

    @torch.inference_mode()
    def labels(self, image: Images) -> NDArray[np.uint16]:
        network = self._logits.network
        features = network.features(self._logits.normalised(torch.from_numpy(image)[None]))
        features = on_grid(features, network.first_cell_px, self._stride, *image.shape[:2])
        logits = network.classify(features)[0]
        highest, labels = logits.max(dim=0)
        _confidence = 1.0 / (logits - highest).exp_().sum(dim=0)
        return labels.numpy().astype(np.uint16)


def _timed(
    label: Callable[[Images], NDArray[np.uint16]], images: list[Images], for_s: float
) -> tuple[NDArray[np.uint16], list[float]]:
    """Labels of the images, and how long each image took that was labelled."""
    labels: list[NDArray[np.uint16]] = []
    seconds: list[float] = []
    while len(seconds) < _FEWEST or (sum(seconds) < for_s and len(seconds) < _MOST):
        image = images[len(seconds) % len(images)]
        began = time.perf_counter()
        labels.append(label(image))
        seconds.append(time.perf_counter() - began)
    return np.stack(labels[: len(images)]), seconds


def _memory_mb(name: str) -> float:
    """Resident memory: VmRSS now, VmHWM the largest."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(name))
    return float(line.split()[1]) * 1024 / 1e6


def _network_gflop(checkpoint: Checkpoint, case: Case) -> float:
    """Counted without computing."""
    network = LogitNetwork(checkpoint, case.stride).to("meta")
    image = torch.empty(1, case.height, case.width, 3, dtype=torch.uint8, device="meta")
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(image)
    return counter.get_total_flops() / 1e9


def _matmul_gflop_per_s(device: str, size: int = 2048) -> float:
    dtype = torch.float16 if device == "cuda" else torch.float32
    first, second = torch.randn(2, size, size, device=device, dtype=dtype)
    times = []
    for _ in range(8):
        began = time.perf_counter()
        (first @ second)[0, 0].item()  # waits for a GPU
        times.append(time.perf_counter() - began)
    return 2 * size**3 / min(times) / 1e9


if __name__ == "__main__":
    _measure_in(Path(sys.argv[1]))
