"""`fgsn segment`: label images, a video or a recording."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from tqdm import tqdm

from fgsn_ros.commands.label_writer import LabelWriter
from fgsn_ros.commands.segment_input import SegmentInput, open_input
from fgsn_ros.config import require
from fgsn_ros.outputs import check_output, whole_folder
from fgsn_ros.segmentation.checkpoint import load_checkpoint
from fgsn_ros.segmentation.label_set import label_set_of, write_label_set
from fgsn_ros.segmentation.overlays import every_pixel
from fgsn_ros.segmentation.segmenter import Segmenter
from fgsn_ros.segmentation.settings import SegmenterSettings
from fgsn_ros.sequences.settings import RecordingSettings


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
    overlays: bool = True
    """also write each image blended with its labels' colours"""
    video: bool = False
    """of a video or a recording, also write the blended images as overlay.mp4"""
    overwrite: bool = False
    """replace the output folder"""
    recording: RecordingSettings = field(default_factory=RecordingSettings)
    segmenter: SegmenterSettings = field(default_factory=SegmenterSettings)

    def run(self) -> None:
        """Write the folder."""
        check_output(self.output, self.overwrite)
        given = open_input(self.input, self.recording, self.output)
        require(given.moving or not self.video, "--video takes a video or a recording as input")
        segmenter = Segmenter(load_checkpoint(self.checkpoint), self.segmenter)
        with whole_folder(self.output, self.overwrite) as folder:
            count = self._label(given, segmenter, folder)
            stride = 1 if self.full_resolution else segmenter.stride
            write_label_set(folder, label_set_of(segmenter.checkpoint, stride))
        print(f"{self.output}: labels of {count} images")

    def _label(self, given: SegmentInput, segmenter: Segmenter, folder: Path) -> int:
        writer, count = LabelWriter(folder, self.overlays, self.video), 0
        images = tqdm(given.images, desc="label", unit="image", total=given.count or None)
        for named, label_map in segmenter.segment_each(images, lambda named: named.image):
            if self.full_resolution:
                label_map = every_pixel(label_map, *named.image.shape[:2])
            writer.add(named, label_map)
            count += 1
        writer.close()
        return count
