"""Which network, backend and stride on which computer: speed, memory, and localization error.

    python benchmark/networks.py --work /tmp/networks

Each network is run by each backend on images of each size, in a process of its own. The reference
in the same run is PyTorch doing one plain step after the other: features, interpolation to the
grid of the labels, classifier, maximum, soft-max. The bound is the operations of the network at the
rate of a product of two large matrices. Networks without trained weights have random ones. The
packaged network, which has been trained, localizes a simulated winter and night drive at each
stride. Prints three tables and writes networks.md and networks.json.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
import tyro
from network_speed import REFERENCE, Case, Images, Speed, measured
from scoring import figures, markdown_table, write_results
from season_tables import LABELS
from seasons import Seasons, runs_in_town
from torch import nn

from fgsn_ros.commands.demo import PACKAGED_CHECKPOINT
from fgsn_ros.segmentation.architectures import LRASPP
from fgsn_ros.segmentation.checkpoint import Checkpoint, save_checkpoint
from fgsn_ros.segmentation.networks import make_network
from fgsn_ros.segmentation.segmenter import SegmenterSettings
from fgsn_ros.simulation.drive import DriveSettings, SimulatedDrive
from fgsn_ros.simulation.seasons import Season

LABEL_COUNT = 200
STRIDES = (4, 8, 16)
_CALIBRATION = (2, 3, 193, 257)

Size = tuple[int, int]
Row = dict[str, str]


@dataclass(frozen=True)
class Networks:
    """Measure networks by backend and size, and localization by stride."""

    output: Path = Path("benchmark/results")
    """folder of networks.md and networks.json"""
    work: Path = Path("benchmark/work")
    """folder that keeps drives, labels and maps"""
    sizes: tuple[Size, ...] = ((640, 480), (1280, 960), (1920, 1200))
    """width and height of the images of the small network, on a GPU of all [px]"""
    heavy: tuple[str, ...] = ("pspnet_resnet50", "fcn_resnet50", "deeplabv3_resnet50")
    """networks that a CPU is given the first size of only"""
    backends: tuple[str, ...] = ("onnx", "eager", "compile")
    """backends of the small network"""
    heavy_backends: tuple[str, ...] = ("onnx", "eager")
    """backends of the heavy ones: to compile them takes a minute each"""
    threads: int = 0
    """CPU threads; 0: as many as PyTorch takes"""
    seconds: float = 2.0
    """length of each measurement [s]"""
    town: int = 9001
    """seed of the town, in which the network was not trained"""
    duration_s: float = 15.0
    """length of the localized drives [s]; 0: do not localize"""

    def run(self) -> None:
        """Measure, print and write."""
        images = _images(self.town)
        rows = list(self._speed_rows(images))
        text = f"{markdown_table(rows)}\n\n{self._note()}\n\n{self._default(rows)}"
        strides = [self._stride_row(stride, images) for stride in STRIDES if self.duration_s]
        if strides:
            text += f"\n\n{markdown_table(strides)}\n\n{self._stride_note()}"
        write_results(self.output, "networks", text, {"speed": rows, "strides": strides})
        print(text)

    def _speed_rows(self, images: Images) -> Iterator[Row]:
        with TemporaryDirectory() as folder:
            small = PACKAGED_CHECKPOINT.with_suffix(".safetensors")
            yield from self._rows_of(small, LRASPP, self.sizes, self.backends, images)
            for name in self.heavy:
                path = Path(folder) / f"{name}.safetensors"
                save_checkpoint(path, _random_checkpoint(name))
                sizes = self.sizes if torch.cuda.is_available() else self.sizes[:1]
                yield from self._rows_of(path, name, sizes, self.heavy_backends, images[:2])
                path.unlink()

    def _rows_of(
        self,
        path: Path,
        name: str,
        sizes: tuple[Size, ...],
        backends: tuple[str, ...],
        images: Images,
    ) -> Iterator[Row]:
        for size in sizes:
            reference = measured(self._case(path, size, REFERENCE), images)
            yield self._row(name, size, "reference, CPU", reference, reference)
            for backend in backends:
                speed = measured(self._case(path, size, backend), images)
                yield self._row(name, size, f"{backend}, CPU", speed, reference)
                if torch.cuda.is_available() and backend != "onnx":
                    speed = measured(self._case(path, size, backend, "cuda"), images)
                    yield self._row(name, size, f"{backend}, GPU", speed, reference)

    def _case(
        self, path: Path, size: Size, backend: str, device: str = "cpu", stride: int = 4
    ) -> Case:
        return Case(str(path), *size, backend, device, stride, self.threads, self.seconds)

    def _row(self, name: str, size: Size, backend: str, speed: Speed, reference: Speed) -> Row:
        took, known = np.median(speed.seconds), np.median(reference.seconds)
        best = speed.gflop / speed.gflop_per_s
        both = min(len(speed.labels), len(reference.labels))  # a slow one labels fewer images
        equal = np.mean(speed.labels[:both] == reference.labels[:both])
        row = {
            "network": name,
            "image": f"{size[0]}x{size[1]}",
            "backend": backend,
            "frames/s": f"{1 / took:.3g}",
            "median [ms]": f"{1e3 * took:.3g}",
            "95 % [ms]": f"{1e3 * np.percentile(speed.seconds, 95):.3g}",
            "times the reference": f"{known / took:.2f}",
            "bound [ms]": f"{1e3 * best:.3g}",
            "of the bound": f"{100 * best / took:.0f} %",
            "memory [MB]": f"{speed.memory_mb:.0f} ({speed.imports_mb:.0f})",
            "ready after [s]": f"{speed.ready_s:.1f}",
            "equal labels": f"{100 * equal:.3f} %",
        }
        print(", ".join(row.values()), flush=True)
        return row

    def _note(self) -> str:
        threads = self.threads or torch.get_num_threads()
        cores = len(os.sched_getaffinity(0))
        gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ", no GPU"
        return (
            f"Stride 4, {LABEL_COUNT} labels; {threads} threads on {cores} cores{gpu}. From the "
            "array of an image to its label map. Memory: the process's largest (in brackets: what "
            "PyTorch and the other modules take alone); of a GPU what PyTorch took there. Ready "
            "after: from the checkpoint to the first label map. Equal labels: as the reference's. "
            "Above the bound: what a dilated convolution reads beyond the image is not computed."
        )

    def _default(self, rows: list[Row]) -> str:
        """The default of this machine, from the first size of the small network."""
        first = rows[0]
        same = [row for row in rows if all(row[x] == first[x] for x in ("network", "image"))]
        default = "eager, GPU" if torch.cuda.is_available() else "onnx, CPU"
        (chosen,) = (row for row in same if row["backend"] == default)
        others = "; ".join(
            f"{row['backend']} {row['frames/s']}" for row in same if row is not chosen
        )
        return (
            f"The default here is {LRASPP} by {default}: {chosen['frames/s']} frames/s of "
            f"{chosen['image']} ({others}). It needs neither a compiler nor long to start."
        )

    def _stride_row(self, stride: int, images: Images) -> Row:
        segmenter = SegmenterSettings(stride=stride, threads=self.threads)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        case = self._case(
            PACKAGED_CHECKPOINT.with_suffix(".safetensors"), self.sizes[0], "auto", device, stride
        )
        took = float(np.median(measured(case, images).seconds))
        seasons = Seasons(
            work=self.work,
            towns=(self.town,),
            seasons=(Season.WINTER, Season.NIGHT),
            duration_s=self.duration_s,
            features=False,
            segmenter=segmenter,
        )
        score = figures([run.results[LABELS] for run in runs_in_town(seasons, self.town)])
        row = {"stride [px]": str(stride), "frames/s": f"{1 / took:.3g}"}
        for name in ("position", "position 95 %", "lateral", "longitudinal"):
            row[f"{name} [m]"] = f"{score[name]:.2f}"
        row["heading [deg]"] = f"{score['heading']:.2f}"
        recalls = [f"{value:.0f}" for name, value in score.items() if name.startswith("recall")]
        return {**row, "recall [%]": " / ".join(recalls)}

    def _stride_note(self) -> str:
        return (
            f"The packaged network in town {self.town}: a map of a summer drive, then "
            f"{self.duration_s:g} s in winter and {self.duration_s:g} s at night localized on it "
            "from a start 2 m and 5 deg off, map and drives labelled at the same stride. Medians; "
            "recall within 0.25 m 2 deg / 0.5 m 5 deg / 5 m 10 deg. One town and one start: "
            "`python benchmark/seasons.py --segmenter.stride 8` is the longer answer."
        )


def _images(town: int) -> Images:
    """Images (4, 480, 640, 3) of a winter drive, each seconds after the last."""
    drive = SimulatedDrive(DriveSettings(town_seed=town, season=Season.WINTER, duration_s=9.0))
    return np.stack([drive.render(index).image for index in (0, 25, 50, 75)])


@torch.no_grad()
def _random_checkpoint(name: str) -> Checkpoint:
    """Random weights; batch norms made for noise, so that features have their usual size."""
    generator = torch.Generator().manual_seed(0)
    network = make_network(name, LABEL_COUNT, generator)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    network.train().features_and_auxiliary(torch.randn(_CALIBRATION, generator=generator))
    return Checkpoint(network.eval())


if __name__ == "__main__":
    tyro.cli(Networks, description=__doc__).run()
