"""The street as files, and the localization node on it."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import street
from launch_ros.actions import Node
from numpy.typing import NDArray
from safetensors.numpy import save_file

from fgsn_ros.mapping.map_files import save_map
from fgsn_ros.segmentation.architectures import LRASPP
from fgsn_ros.segmentation.checkpoint import FORMAT_VERSION, LOG_RATIO

FAST = {
    "min_particles": 400,
    "max_particles": 1200,
    "measurement.points": 800,
    "recover": False,  # tests that are not of it tell the robot where it is
    "diagnostic_updater.period": 0.2,
}


@dataclass(frozen=True)
class World:
    """Map and checkpoint of the street."""

    map: Path
    checkpoint: Path
    fingerprint: str

    @staticmethod
    def written(folder: Path) -> "World":
        """Both, in a folder."""
        semantic_map = street.street_map(np.random.default_rng(0), 140.0, 30000)
        world = World(folder / "map", folder / "street.safetensors", semantic_map.fingerprint)
        save_map(world.map, semantic_map)
        write_statistics(world.checkpoint, world.fingerprint)
        return world


def write_statistics(
    path: Path, fingerprint: str, log_ratio: NDArray[np.float32] | None = None
) -> None:
    """A checkpoint with label statistics, the street's by default, and no network."""
    table = street.log_ratio_table() if log_ratio is None else log_ratio
    header = {
        "format_version": FORMAT_VERSION,
        "architecture": LRASPP,
        "kind": "fgsn",
        "label_count": len(table),
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "training": {},
        "label_names": None,
        "fingerprint": fingerprint,
    }
    save_file({LOG_RATIO: table}, path, {"fgsn": json.dumps(header)})


def node_of(name: str, world: World, **parameters: object) -> Node:
    """The localization node, with its transforms, diagnostics and clock in its own namespace."""
    given = {"map": str(world.map), "checkpoint": str(world.checkpoint), **FAST, **parameters}
    own = [(f"/{topic}", topic) for topic in ("tf", "tf_static", "diagnostics", "clock")]
    return Node(
        package="fgsn_ros",
        executable="localization_node",
        namespace=f"/{name}",
        parameters=[{key: value for key, value in given.items() if value is not None}],
        remappings=own,
    )
