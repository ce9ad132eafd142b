"""Our training step beside that of the published FGSN code, on the same weights and crops.

    python benchmark/published_step.py --published CHECKOUT

CHECKOUT is a clone of github.com/maunzzz/fine-grained-segmentation-networks (CC BY-NC), which is
run from there; it needs scikit-image. PSPNet on ResNet-101, one pair of 713x713 crops, batch
statistics frozen, SGD: a step learns from the reference or from the target image, as published. The
published step passes the reference through a copy of the network and assigns its cells to
clusters, passes both images through the network, and goes back through one of them. Ours takes
the labels from the map of the reference image, which is made once for each clustering (its time is
given too), and passes one image.

Prints a table with the time of each and their ratio.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import tyro
from torch import nn

from fgsn_ros.config import override
from fgsn_ros.correspondences.files import (
    Correspondence,
    CorrespondenceFolder,
    read_correspondence,
    write_correspondence,
    write_list,
)
from fgsn_ros.segmentation.networks.start_weights import initial_network
from fgsn_ros.training.fine_grained import FineGrainedBatch, FineGrainedObjective
from fgsn_ros.training.loop import TrainingLoop
from fgsn_ros.training.model import Model
from fgsn_ros.training.processes import Processes, StopRequest
from fgsn_ros.training.run_files import RunFiles
from fgsn_ros.training.settings import TrainSettings

LABELS, POINTS, LEARNING_RATE = 100, 800, 2.5e-5
"""Points as in a published file of correspondences."""
SIDES = ("reference", "target")


@dataclass(frozen=True)
class PublishedStep:
    """Time training steps of both."""

    published: Path
    """clone of the published code"""
    size: int = 713
    """side of the crops [px]"""
    repeats: int = 3
    """steps from each side"""
    threads: int = 2
    """CPU threads, as PyTorch counts them"""

    def run(self) -> None:
        """Print the table."""
        torch.set_num_threads(self.threads)
        sys.path.insert(0, str(self.published))
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            _write_pair(CorrespondenceFolder(folder), self.size)
            published = _PublishedStep(folder, self.size)
            torch.save(published.network.state_dict(), folder / "weights.pth")
            with RunFiles(_settings(folder, self.size), writes=False) as files:
                ours = _OurStep(folder, self.size, files)
                print(_table(self._times(published, ours), _seconds(ours.label)))

    def _times(self, published: "_PublishedStep", ours: "_OurStep") -> dict[str, np.ndarray]:
        """Median seconds (2,) of both, by side; they take turns, as the machine's load changes."""
        return {side: self._medians(published, ours, side) for side in SIDES}

    def _medians(self, published: "_PublishedStep", ours: "_OurStep", side: str) -> np.ndarray:
        turns = [
            [_seconds(lambda step=step: step.run(side)) for step in (published, ours)]
            for _ in range(self.repeats + 1)
        ]
        return np.asarray(np.median(turns[1:], axis=0))


class _PublishedStep:
    """What the published loop does with a pair, from its own classes."""

    def __init__(self, folder: Path, size: int) -> None:
        from clustering.cluster_tools import assign_cluster_ids_to_correspondence_points
        from clustering.clustering import Kmeans, preprocess_features
        from layers.cluster_correspondence_loss import ClusterCorrespondenceLoss
        from models.model_configs import PspnetCityscapesConfig
        from models.pspnet import PSPNetClustering
        from utils.misc import freeze_bn

        self._size = size
        self._assign_points = assign_cluster_ids_to_correspondence_points
        self._project = preprocess_features
        images, points = _read_pair(folder)
        transform = PspnetCityscapesConfig().input_transform
        self._images = [transform(image)[None] for image in images]
        self._points = [torch.from_numpy(p.T.copy()).int()[None] for p in points]
        torch.manual_seed(0)
        self.network = PSPNetClustering(n_classes=LABELS)
        _calibrate(self.network, self._images)
        self._frozen = PSPNetClustering(n_classes=LABELS, output_features=True).eval()
        self._frozen.load_state_dict(self.network.state_dict())
        self.network.train()
        freeze_bn(self.network)
        rng = np.random.default_rng(0)
        centres = rng.normal(size=(LABELS, 256)).astype(np.float32)
        self._clusters = Kmeans(LABELS)
        self._clusters.set_index(centres / np.linalg.norm(centres, axis=1, keepdims=True))
        axes = rng.normal(size=(512, 256)).astype(np.float32)
        self._whitening = (axes, np.zeros(256, np.float32))
        self._on_points = ClusterCorrespondenceLoss(input_size=[size, size])
        self._on_cells = nn.CrossEntropyLoss()
        self._optimizer = _sgd(self.network)

    def run(self, side: str) -> None:
        """One step that learns from one side."""
        with torch.no_grad():
            features = self._frozen(self._images[0])
        cells = self._cells(features.numpy())
        reference, target = self._points
        labels = self._assign_points(
            features,
            list(reference),
            (self._clusters, self._whitening),
            inds_other=list(target),
            orig_im_size=(self._size, self._size),
        )
        self._optimizer.zero_grad()
        outputs = []
        for image, learnt in zip(self._images, SIDES, strict=True):
            with torch.set_grad_enabled(learnt == side):
                outputs.append(self.network(image))
        loss = self._loss(outputs, list(reference), list(target), labels)
        if side == SIDES[0]:
            main, auxiliary = outputs[0]
            loss = loss + self._on_cells(main, cells) + 0.4 * self._on_cells(auxiliary, cells)
        loss.backward()
        self._optimizer.step()

    def _cells(self, features: np.ndarray) -> torch.Tensor:
        flat = features[0].reshape(features.shape[1], -1).T
        projected, _ = self._project(flat, pca_info=self._whitening)
        labels = self._clusters.assign(projected)
        return torch.from_numpy(labels.reshape(1, *features.shape[2:]))

    def _loss(self, outputs: Any, reference: Any, target: Any, labels: Any) -> torch.Tensor:
        (main, auxiliary), (other_main, other_auxiliary) = outputs
        losses = [
            self._on_points(of_reference, of_target, None, reference, target, cluster_labels=labels)
            for of_reference, of_target in ((main, other_main), (auxiliary, other_auxiliary))
        ]
        total: torch.Tensor = losses[0][0] + 0.4 * losses[1][0]
        return total


class _OurStep:
    """A step of `fgsn train` with the published recipe."""

    def __init__(self, folder: Path, size: int, files: RunFiles) -> None:
        settings = _settings(folder, size)
        network, mean, std = initial_network(
            None, LABELS, folder / "weights.pth", torch.Generator().manual_seed(0)
        )
        self._model = Model(network.to(memory_format=torch.channels_last), mean, std)
        processes = Processes("cpu")
        self._objective = FineGrainedObjective(settings, processes)
        self._loop = TrainingLoop(settings, self._objective, self._model, files, processes)
        self.label()
        # the side that a sample learns from is drawn from its seed
        self._batches: dict[str, FineGrainedBatch] = {}
        for seed in range(100):
            batch = self._objective.batch([(0, 0, seed)])
            self._batches.setdefault(SIDES[0] if batch.learnt[0] else SIDES[1], batch)

    def run(self, side: str) -> None:
        """One step that learns from one side."""
        with StopRequest() as stop:
            self._loop._step([self._batches[side]], stop)

    def label(self) -> None:
        """Cluster features and label the reference image."""
        self._objective.prepare(self._model, 0)


def _settings(folder: Path, size: int) -> TrainSettings:
    """The published recipe, on crops that are the whole images."""
    (folder / "run").mkdir(exist_ok=True)
    settings = TrainSettings(data=folder, output=folder / "run", init=folder / "weights.pth")
    changes: dict[str, object] = {
        "label_count": LABELS, "crop_height": size, "crop_width": size, "short_side_px": 0,
        "workers": 0, "device": "cpu",
    }  # fmt: skip
    return override(settings, changes, "benchmark")


def _sgd(network: nn.Module) -> torch.optim.Optimizer:
    named = list(network.named_parameters())
    biases = [p for name, p in named if name.endswith("bias")]
    weights = [p for name, p in named if not name.endswith("bias")]
    groups = [
        {"params": biases, "lr": 2 * LEARNING_RATE},
        {"params": weights, "lr": LEARNING_RATE, "weight_decay": 1e-4},
    ]
    return torch.optim.SGD(groups, momentum=0.9, nesterov=True)


@torch.no_grad()
def _calibrate(network: nn.Module, images: list[torch.Tensor]) -> None:
    """Batch statistics of the images, so that random weights keep the features' size."""
    network.train()
    for _ in range(2):
        network(torch.cat(images))


def _write_pair(folder: CorrespondenceFolder, size: int) -> None:
    """Two images of smooth noise, as many points as a published file has, and lists of the pair."""
    rng = np.random.default_rng(0)
    for path in (folder.images, folder.files):
        path.mkdir(parents=True)
    for name in SIDES:
        coarse = rng.integers(0, 256, (size // 16, size // 16, 3), dtype=np.uint8)
        image = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder.images / f"{name}.png"), image)
    points = rng.uniform(0, size - 1, (2, POINTS, 2)).round()
    pair = Correspondence("reference.png", "target.png", *points, distance=np.zeros(POINTS))
    write_correspondence(folder.files / "pair.mat", pair)
    for name in ("corr_train.txt", "corr_val.txt"):
        write_list(folder.root / name, ["pair.mat"])


def _read_pair(root: Path) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Images (H, W, 3) and points (N, 2) of reference and target."""
    folder = CorrespondenceFolder(root)
    pair = read_correspondence(folder.files / "pair.mat")
    images = [
        cv2.imread(str(folder.images / name), cv2.IMREAD_COLOR_RGB)
        for name in (pair.reference_image, pair.target_image)
    ]
    return images, [pair.reference_points, pair.target_points]


def _seconds(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _table(medians: dict[str, np.ndarray], labelling_s: float) -> str:
    rows = [*medians.items(), ("mean", np.mean(list(medians.values()), axis=0))]
    lines = ["| learns from | published [s] | ours [s] | ratio |", "| --- | --- | --- | --- |"]
    for name, (published, ours) in rows:
        lines.append(f"| {name} | {published:.1f} | {ours:.1f} | {published / ours:.2f} |")
    note = f"Ours labels a reference image once for each clustering, in {labelling_s:.1f} s."
    return "\n".join([*lines, "", note])


if __name__ == "__main__":
    tyro.cli(PublishedStep).run()
