"""The segmentation node, which at its end writes down how long each image's inference took.

    python latency_segmentation.py FILE --ros-args ...

FILE is JSON: stamps [us] to times [s].
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from fgsn_ros.messages.types import stamp_of
from fgsn_ros.nodes.executables import run
from fgsn_ros.nodes.segmentation_node import NODE_NAME, SegmentationNode
from fgsn_ros.segmentation.labels import LabelMap


class TimedSegmentationNode(SegmentationNode):
    """Notes the time of each call of the network."""

    def __init__(self) -> None:
        self._took: dict[int, float] = {}
        self._image = 0
        super().__init__()
        segment = self._segmenter.segment

        def timed(image: Any) -> LabelMap:
            start = time.perf_counter()
            label_map = segment(image)
            self._took[self._image] = time.perf_counter() - start
            return label_map

        self._segmenter.segment = timed  # type: ignore[method-assign]

    def destroy_node(self) -> None:
        """Write the times once the worker has ended."""
        super().destroy_node()
        Path(sys.argv[1]).write_text(json.dumps(self._took))

    def _process(self, message: Any) -> None:
        self._image = round(1e6 * stamp_of(message))
        super()._process(message)


if __name__ == "__main__":
    sys.exit(run(TimedSegmentationNode, NODE_NAME))
