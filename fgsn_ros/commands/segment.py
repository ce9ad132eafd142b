"""`fgsn segment`: label images, a video or a recording."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from tqdm import tqdm

from fgsn_ros.commands.label_writer import LabelWriter
from fgsn_ros.commands.segment_input import SegmentInput, open_input
from fgsn_ros.config import require
from fgsn_ros.errors import OutputError
from fgsn_ros.lookahead import read_ahead
from fgsn_ros.outputs import check_output, whole_folder
from fgsn_ros.recordings.recording import RecordingSettings
from fgsn_ros.segmentation.checkpoint import load_checkpoint
from fgsn_ros.segmentation.label_set import LabelSet, label_set_of, write_label_set
from fgsn_ros.segmentation.overlays import every_pixel
from fgsn_ros.segmentation.segmenter import Segmenter
from fgsn_ros.segmentation.settings import SegmenterSettings
from fgsn_ros.segmentation.sliding import Precision, SlidingSegmenter, SlidingSettings
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
    checkpoint: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="CHECKPOINT")]
    """trained network (.safetensors)"""
    output: Path
    """folder to make"""
    full_resolution: bool = False
    """label every pixel, not every cell of `segmenter.stride` pixels"""
    crop: int | None = None
    """side of square crops [px] that slide over the image, e.g. 713: labels every pixel, as the
    published code; of the segmenter's settings, the device alone counts then"""
    precision: Precision = "float32"
    """of --crop on a CPU: float32; or mixed, of a ResNet: faster where there is AVX512-BF16 or AMX,
    but up to one label in a hundred differs"""
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
        check_output(self.output, self.overwrite)
        given = open_input(self.input, self.recording, self.output)
        require(given.moving or not self.video, "--video takes a video or a recording as input")
        require(self.crop is not None or self.precision == "float32", "--precision takes --crop")
        processes = Processes(self.segmenter.device)
        require(processes.count == 1 or not self.video, "--video needs a single process")
        try:
            segmenter, label_set = self._load()
            with shared_folder(processes, self.output, self.overwrite) as folder:
                mine = self._label(given, segmenter, folder, processes)
                counts = processes.all_items({processes.rank: mine}, processes.count)
                if processes.first:
                    write_label_set(folder, label_set)
        finally:
            processes.close()
        if processes.first:
            print(f"{self.output}: labels of {sum(counts)} images")

    def _load(self) -> tuple[AnySegmenter, LabelSet]:
        """The segmenter, and what its labels mean; sliding crops keep nothing else of the file."""
        checkpoint = load_checkpoint(self.checkpoint)
        segmenter: AnySegmenter
        if self.crop is None:
            segmenter = Segmenter(checkpoint, self.segmenter)
        else:
            sliding = SlidingSettings(self.segmenter.device, self.crop, self.precision)
            segmenter = SlidingSegmenter(checkpoint, sliding)
        return segmenter, label_set_of(checkpoint, 1 if self.full_resolution else segmenter.stride)

    def _label(
        self, given: SegmentInput, segmenter: AnySegmenter, folder: Path, processes: Processes
    ) -> int:
        """Label this process's share; images are read and files written in other threads."""
        images = read_ahead(given.images(processes.rank, processes.count), _IMAGES_AHEAD)
        total = -(-given.count // processes.count) or None
        bar = tqdm(images, desc="label", unit="image", total=total, disable=not processes.first)
        with LabelWriter(folder, self.overlays, self.video) as writer:
            for named, label_map in segmenter.segment_each(bar, lambda named: named.image):
                if self.full_resolution:
                    label_map = every_pixel(label_map, *named.image.shape[:2])
                writer.add(named, label_map)
            return writer.count


@contextmanager
def shared_folder(processes: Processes, path: Path, overwrite: bool) -> Iterator[Path]:
    """Yield the folder that all processes write into; the first one makes it `path` in the end.

    Raises:
        OutputError: it cannot be written, or another machine does not see it.
    """
    if processes.first:
        with whole_folder(path, overwrite) as folder:
            processes.from_first(folder.as_posix())
            yield folder
        return
    folder = Path(processes.from_first(None) or "")
    if not folder.is_dir():
        raise OutputError(f"{path} must lie on a disk that all machines share")
    yield folder
