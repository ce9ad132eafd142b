"""Our segmentation of a whole image beside that of the published FGSN code, on the same weights.

    python benchmark/published_segmentation.py --published CHECKOUT --image IMAGE

CHECKOUT is a clone of github.com/maunzzz/fine-grained-segmentation-networks (CC BY-NC), which is
run from there; it needs scikit-image. PSPNet on ResNet-101, 100 labels, sliding crops of 713x713,
on a CPU. Without --weights, random ones stand in for trained ones: batch statistics are those of
the image, blocks add a fifth of what they are drawn to (else float32's rounding is amplified as in
no trained network), and labels are clusters of the features of the image.

Each runs in a process of its own; they take turns. Prints a table of the median time, the peak of
the resident memory, the share of labels equal to the published ones, and the time that the same
multiplications would take at the rate of this machine's matrix products.
"""

import copy
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import cv2
import numpy as np
import torch
import tyro
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from fgsn_ros.segmentation.checkpoint import load_checkpoint, save_checkpoint
from fgsn_ros.segmentation.label_network import LogitNetwork
from fgsn_ros.segmentation.networks.start_weights import published_checkpoint
from fgsn_ros.segmentation.networks.weight_files import read_state_dict
from fgsn_ros.segmentation.runtime import BackendName
from fgsn_ros.segmentation.segmenter import SegmenterSettings
from fgsn_ros.segmentation.sliding import SlidingSegmenter, crop_starts

LABELS, CROP, WIDTH, HEIGHT = 100, 713, 1024, 768
WEIGHTS, CHECKPOINT, IMAGE = "weights.pth", "weights.safetensors", "image.png"
PUBLISHED = "published"
RESIDUAL_GAIN = 0.2
MATRIX = 2048

Label = Callable[[], np.ndarray]
Labelling = tuple[Label, Callable[[], float]]
"""What labels the image, and what counts its operations, of multiplying and adding, in the end."""


@dataclass(frozen=True)
class PublishedSegmentation:
    """Time the segmentation of an image by both."""

    published: Path
    """clone of the published code"""
    image: Path | None = None
    """resized to 1024x768; none: smooth noise"""
    weights: Path | None = None
    """of its PSPNet with 100 classes, as it saves them (.pth); none: random ones"""
    repeats: int = 2
    """timed turns of each, after one that is not timed"""
    threads: int = 2
    """CPU threads, as PyTorch counts them"""
    backends: tuple[BackendName, ...] = ("onnx", "eager")
    """of ours"""

    def run(self) -> None:
        """Print the table."""
        torch.set_num_threads(self.threads)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            self._prepare(folder)
            kinds = (PUBLISHED, *self.backends)
            labellers = {kind: _Labeller(kind, self.published, folder) for kind in kinds}
            turns = [
                {kind: labellers[kind].seconds() for kind in kinds} for _ in range(1 + self.repeats)
            ]
            rate = _rate()
            results = {kind: labeller.result() for kind, labeller in labellers.items()}
        seconds = {kind: float(np.median([turn[kind] for turn in turns[1:]])) for kind in kinds}
        print(_table(seconds, results, rate))

    def _prepare(self, folder: Path) -> None:
        """Image, weights as published, and a checkpoint of them."""
        image = _noise() if self.image is None else cv2.imread(str(self.image))
        assert image is not None, f"{self.image} is no image"
        cv2.imwrite(str(folder / IMAGE), cv2.resize(image, (WIDTH, HEIGHT)))
        if self.weights is None:
            process = multiprocessing.get_context("spawn").Process(
                target=_draw_weights, args=(self.published, folder)
            )
            process.start()
            process.join()
        else:
            (folder / WEIGHTS).symlink_to(self.weights.resolve())
        weights = folder / WEIGHTS
        published = published_checkpoint(weights, read_state_dict(weights))
        save_checkpoint(folder / CHECKPOINT, published)


@dataclass(frozen=True)
class Result:
    """Of a process, after all of its turns."""

    labels: np.ndarray
    peak_mb: float
    operations: float


class _Labeller:
    """A process that labels the image when it is told to."""

    def __init__(self, kind: str, published: Path, folder: Path) -> None:
        self._connection, other = multiprocessing.Pipe()
        process = multiprocessing.get_context("spawn").Process(
            target=_serve, args=(other, kind, published, folder, torch.get_num_threads())
        )
        process.start()
        other.close()
        self._connection.recv()  # it is ready

    def seconds(self) -> float:
        """Label once."""
        self._connection.send(True)
        return float(self._connection.recv())

    def result(self) -> Result:
        """What came out; the process ends."""
        self._connection.send(False)
        result: Result = self._connection.recv()
        return result


def _serve(connection: Connection, kind: str, published: Path, folder: Path, threads: int) -> None:
    torch.set_num_threads(threads)
    labels = np.empty(0)
    make = _published if kind == PUBLISHED else _ours
    label, count = make(kind, published, folder)
    connection.send(True)
    while connection.recv():
        start = time.perf_counter()
        labels = label()
        connection.send(time.perf_counter() - start)
    connection.send(Result(labels, _peak_mb(), count()))


def _published(_: str, published: Path, folder: Path) -> Labelling:
    """Their own loop over crops."""
    sys.path[:0] = [str(published), str(published / "utils")]
    from models.model_configs import PspnetCityscapesConfig
    from models.pspnet import PSPNet
    from PIL import Image
    from utils.joint_transforms import SlidingCropImageOnly
    from utils.segmentor import Segmentor

    network = PSPNet(n_classes=LABELS)
    network.load_state_dict(torch.load(folder / WEIGHTS, weights_only=True))
    segmentor = Segmentor(network.eval(), LABELS)
    image = Image.open(folder / IMAGE).convert("RGB")
    transform = PspnetCityscapesConfig().input_transform

    def label() -> np.ndarray:
        labels = segmentor.run_and_save(
            image,
            None,
            sliding_crop=SlidingCropImageOnly(CROP, 2 / 3),
            input_transform=transform,
            use_gpu=False,
        )
        return np.asarray(labels)

    return label, lambda: _operations(network, (1, 3, CROP, CROP), torch.float32)


def _ours(backend: BackendName, _: Path, folder: Path) -> Labelling:
    image = np.ascontiguousarray(cv2.imread(str(folder / IMAGE))[..., ::-1])
    checkpoint = load_checkpoint(folder / CHECKPOINT)
    settings = SegmenterSettings("cpu", backend=backend, threads=torch.get_num_threads())
    segmenter = SlidingSegmenter(checkpoint, CROP, settings)
    whole = 1, CROP, CROP, 3

    def count() -> float:
        return _operations(LogitNetwork(checkpoint, None), whole, torch.uint8)

    return lambda: segmenter.segment(image).labels, count


def _operations(network: nn.Module, shape: tuple[int, ...], dtype: torch.dtype) -> float:
    """Of the network on all crops of the image, counted without computing."""
    crops = len(crop_starts(HEIGHT, CROP)) * len(crop_starts(WIDTH, CROP))
    network = copy.deepcopy(network).to("meta")
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(torch.empty(shape, dtype=dtype, device="meta"))
    return float(crops * counter.get_total_flops())


def _draw_weights(published: Path, folder: Path) -> None:
    """Random weights of their network, its last convolution a nearest-centroid classifier."""
    sys.path[:0] = [str(published)]
    import faiss
    from models.model_configs import PspnetCityscapesConfig
    from models.pspnet import PSPNet

    torch.manual_seed(0)
    network = PSPNet(n_classes=LABELS, output_features=True)
    for name, module in network.named_modules():
        if name.endswith("increase.bn"):
            nn.init.constant_(module.weight, RESIDUAL_GAIN)
    transform = PspnetCityscapesConfig().input_transform
    image = torch.as_tensor(transform(cv2.imread(str(folder / IMAGE))[..., ::-1].copy()))
    parts = [image[:, y : y + 257, x : x + 257] for y in (0, 255, 511) for x in (0, 255, 511, 767)]
    with torch.no_grad():
        for _ in range(2):
            network.train()(torch.stack(parts))
        features = network.eval()(image[None, :, :CROP, :CROP])[0].flatten(1).T.contiguous()
    clusters = faiss.Kmeans(features.shape[1], LABELS, niter=20, seed=0)
    clusters.train(features.numpy())
    centroids = torch.from_numpy(clusters.centroids)
    with torch.no_grad():
        network.conv6.weight.copy_(centroids[:, :, None, None])
        network.conv6.bias.copy_(-0.5 * centroids.square().sum(dim=1))
    torch.save(network.state_dict(), folder / WEIGHTS)


def _noise() -> np.ndarray:
    coarse = np.random.default_rng(0).integers(0, 256, (HEIGHT // 16, WIDTH // 16, 3), np.uint8)
    return np.asarray(cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC))


def _peak_mb() -> float:
    """Of this process (not, as getrusage has it, also of the one that began it)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def _rate() -> float:
    """Operations per second of a product of large matrices, at best."""
    factors = torch.randn(2, MATRIX, MATRIX)
    seconds = []
    for _ in range(10):
        start = time.perf_counter()
        torch.mm(*factors)
        seconds.append(time.perf_counter() - start)
    return 2.0 * MATRIX**3 / min(seconds)


def _table(seconds: dict[str, float], results: dict[str, Result], rate: float) -> str:
    head = (
        "",
        "time [s]",
        "published / this",
        "peak [MB]",
        "of published",
        "equal labels",
        "bound [s]",
    )
    lines = [head, ("---",) * len(head)]
    reference = results[PUBLISHED]
    for kind, result in results.items():
        row = (
            kind if kind == PUBLISHED else f"ours, {kind}",
            f"{seconds[kind]:.1f}",
            f"{seconds[PUBLISHED] / seconds[kind]:.2f}",
            f"{result.peak_mb:.0f}",
            f"{result.peak_mb / reference.peak_mb:.2f}",
            f"{100 * (result.labels == reference.labels).mean():.3f} %",
            f"{result.operations / rate:.1f}",
        )
        lines.append(row)
    used, coherent = len(np.unique(reference.labels)), reference.labels
    same = float((coherent[:, 1:] == coherent[:, :-1]).mean())
    return "\n".join(
        [
            *(f"| {' | '.join(line)} |" for line in lines),
            "",
            f"Products of {MATRIX}x{MATRIX} matrices: {rate / 1e9:.0f} GFLOP/s. {used} labels "
            f"occur; {100 * same:.1f} % of pixels have that of their left neighbour.",
        ]
    )


if __name__ == "__main__":
    tyro.cli(PublishedSegmentation).run()
