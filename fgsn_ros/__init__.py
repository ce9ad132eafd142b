"""Camera-based robot localization with fine-grained segmentation labels and wheel odometry.

The names below are the library; what lies in the modules under it may move. They are loaded when
they are asked for: `import fgsn_ros` costs nothing and needs neither PyTorch nor ROS.

    import numpy as np
    import fgsn_ros

    segmenter = fgsn_ros.Segmenter(fgsn_ros.load_checkpoint(Path("network.onnx")))
    summer = fgsn_ros.open_recording(Path("summer_bag"))
    semantic_map = fgsn_ros.build_map(summer, segmenter)

    winter = fgsn_ros.open_recording(Path("winter_bag"))
    start = fgsn_ros.InitialPose(np.eye(4), np.diag([1.0, 1.0, 0.1, 0.01, 0.01, 0.07]) ** 2)
    run = fgsn_ros.localize(winter, semantic_map, segmenter.checkpoint, start)
    print(fgsn_ros.evaluate(run.trajectory, winter.ground_truth).position_m)

Poses are T_map_base (4, 4), which take coordinates of `base_link` into `map`; metres, radians and
seconds; images are RGB (H, W, 3) uint8. What goes wrong is an `FgsnError`, whose one line says what
to do. `examples/` holds whole scripts.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # for type checkers and the documentation
    from fgsn_ros.errors import FgsnError
    from fgsn_ros.evaluation.trajectory_errors import score as evaluate
    from fgsn_ros.geometry.cameras import Camera, CameraMount
    from fgsn_ros.geometry.trajectory import Trajectory
    from fgsn_ros.localization.initial_pose import InitialPose
    from fgsn_ros.localization.localizer import Localizer
    from fgsn_ros.localization.online import OnlineLocalizer
    from fgsn_ros.localization.pipeline import localize
    from fgsn_ros.mapping.builder import build_map
    from fgsn_ros.mapping.map_files import load_map, save_map
    from fgsn_ros.mapping.semantic_map import SemanticMap
    from fgsn_ros.recordings.open import open_recording
    from fgsn_ros.segmentation.checkpoint import load_checkpoint
    from fgsn_ros.segmentation.labels import LabelMap
    from fgsn_ros.segmentation.segmenter import Segmenter

_PLACES = {
    "Camera": "geometry.cameras",
    "CameraMount": "geometry.cameras",
    "FgsnError": "errors",
    "InitialPose": "localization.initial_pose",
    "LabelMap": "segmentation.labels",
    "Localizer": "localization.localizer",
    "OnlineLocalizer": "localization.online",
    "Segmenter": "segmentation.segmenter",
    "SemanticMap": "mapping.semantic_map",
    "Trajectory": "geometry.trajectory",
    "build_map": "mapping.builder",
    "evaluate": "evaluation.trajectory_errors:score",
    "load_checkpoint": "segmentation.checkpoint",
    "load_map": "mapping.map_files",
    "localize": "localization.pipeline",
    "open_recording": "recordings.open",
    "save_map": "mapping.map_files",
}
"""Name to the module that has it; `:` where it has another name there."""

__all__ = [
    "Camera",
    "CameraMount",
    "FgsnError",
    "InitialPose",
    "LabelMap",
    "Localizer",
    "OnlineLocalizer",
    "Segmenter",
    "SemanticMap",
    "Trajectory",
    "build_map",
    "evaluate",
    "load_checkpoint",
    "load_map",
    "localize",
    "open_recording",
    "save_map",
]


def __getattr__(name: str) -> object:
    """Load a public name when it is first asked for (PEP 562)."""
    if name not in _PLACES:
        raise AttributeError(f"module 'fgsn_ros' has no attribute {name!r}")
    module, _, own_name = _PLACES[name].partition(":")
    value = getattr(importlib.import_module(f"fgsn_ros.{module}"), own_name or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
