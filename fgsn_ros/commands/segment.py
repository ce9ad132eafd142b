"""`fgsn segment`: label images, a video or a recording."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from tqdm import tqdm

from fgsn_ros.commands.label_writer import LabelWriter
from fgsn_ros.commands.paths import inputs_of
from fgsn_ros.commands.segment_input import SegmentInput, open_input
from fgsn_ros.config import require
from fgsn_ros.errors import OutputError
from fgsn_ros.lookahead import read_ahead
from fgsn_ros.outputs import check_folder, whole_folder
from fgsn_ros.recordings.recording import RecordingSettings
from fgsn_ros.segmentation.checkpoint import load_checkpoint
from fgsn_ros.segmentation.labels import LABEL_FOLDER, LabelSet, every_pixel, write_label_set
from fgsn_ros.segmentation.segmenter import Segmenter, SegmenterSettings
from fgsn_ros.segmentation.sliding import SlidingSegmenter
from fgsn_ros.terminal import say

if TYPE_CHECKING:
    from fgsn_ros.training.processes import Processes

AnySegmenter = Segmenter | SlidingSegmenter
_IMAGES_AHEAD = 4


@dataclass(frozen=True)
class Segment:
    """Label images: labels/NAME.png, overlays/NAME.jpg, and labels.json with names and colours.

    A label image has 8 bits up to 255 labels, else 16; the highest value means unlabelled.
    """

    input: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="INPUT")]
    """image, folder of images (and subfolders), video, rosbag2, ROS 1 bag, or KITTI folder"""
    checkpoint: Path
    """trained network (.safetensors, or .onnx as `fgsn export` writes it)"""
    output: Path
    """folder to make"""
    full_resolution: bool = False
    """label every pixel, not every cell of `segmenter.stride` pixels"""
    crop: int | None = None
    """side of square crops [px] that slide over the image, e.g. 713: labels every pixel, as the
    published code; the segmenter's stride and shrink do not count then"""
    overlays: bool = True
    """also write each image blended with its labels' colours"""
    video: bool = False
    """of a video or a recording, also write the blended images as overlay.mp4"""
    overwrite: bool = False
    """replace the output folder"""
    recording: RecordingSettings = field(default_factory=RecordingSettings)
    segmenter: SegmenterSettings = field(default_factory=SegmenterSettings)

    def run(self) -> None:
        """Write the folder; with `torchrun`, each process labels its share of the images."""
        check_folder(self.output, LABEL_FOLDER, self.overwrite, inputs_of(self))
        given = open_input(self.input, self.recording, self.output)
        require(given.moving or not self.video, "--video takes a video or a recording as input")
        together = int(os.environ.get("WORLD_SIZE", "1")) > 1
        require(not (together and self.video), "--video needs a single process")
        count = self._label_together(given) if together else self._label_alone(given)
        if count is not None:
            say(f"{self.output}: labels of {count} images")

    def _label_alone(self, given: SegmentInput) -> int:
        """The number of images."""
        segmenter, label_set = self._load()
        with whole_folder(self.output, LABEL_FOLDER, self.overwrite) as folder:
            count = self._label(given, segmenter, folder, 0, 1)
            write_label_set(folder, label_set)
        return count

    def _label_together(self, given: SegmentInput) -> int | None:
        """The number of images of all processes; none but in the first."""
        from fgsn_ros.training.processes import Processes  # which is PyTorch's

        processes = Processes(self.segmenter.device)
        try:
            segmenter, label_set = self._load()
            with shared_folder(processes, self.output, self.overwrite) as folder:
                mine = self._label(given, segmenter, folder, processes.rank, processes.count)
                counts = processes.all_items({processes.rank: mine}, processes.count)
                if processes.first:
                    write_label_set(folder, label_set)
        finally:
            processes.close()
        return sum(counts) if processes.first else None

    def _load(self) -> tuple[AnySegmenter, LabelSet]:
        """The segmenter, and what its labels mean."""
        checkpoint = load_checkpoint(self.checkpoint)
        segmenter: AnySegmenter
        if self.crop is None:
            segmenter = Segmenter(checkpoint, self.segmenter)
        else:
            segmenter = SlidingSegmenter(checkpoint, self.crop, self.segmenter)
        return segmenter, checkpoint.label_set(1 if self.full_resolution else segmenter.stride)

    def _label(
        self, given: SegmentInput, segmenter: AnySegmenter, folder: Path, rank: int, processes: int
    ) -> int:
        """Label a process's share; images are read and files written in other threads."""
        images = read_ahead(given.images(rank, processes), _IMAGES_AHEAD)
        total = -(-given.count // processes) or None
        bar = tqdm(images, desc="label", unit="image", total=total, disable=rank > 0)
        with LabelWriter(folder, self.overlays, self.video) as writer:
            for named, label_map in segmenter.segment_each(bar, lambda named: named.image):
                if self.full_resolution:
                    label_map = every_pixel(label_map, *named.image.shape[:2])
                writer.add(named, label_map)
            return writer.count


@contextmanager
def shared_folder(processes: "Processes", path: Path, overwrite: bool) -> Iterator[Path]:
    """Yield the folder that all processes write into; the first one makes it `path` in the end.

    Raises:
        OutputError: it cannot be written, or another machine does not see it.
    """
    if processes.first:
        with whole_folder(path, LABEL_FOLDER, overwrite) as folder:
            processes.from_first(folder.as_posix())
            yield folder
        return
    folder = Path(processes.from_first(None) or "")
    if not folder.is_dir():
        raise OutputError(f"{path} must lie on a disk that all machines share")
    yield folder
