"""The last pose, kept over restarts."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fgsn_ros.errors import LocalizationError
from fgsn_ros.geometry import poses
from fgsn_ros.localization.initial_pose import is_covariance
from fgsn_ros.outputs import whole_file

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SavedPose:
    """A pose on a map."""

    T_map_base: Array
    """(4, 4)."""
    covariance: Array
    """(6, 6) x y z roll pitch yaw [m, rad]."""
    map_identity: str
    """`SemanticMap.identity` of the map that it is on."""


def save_pose(path: Path, pose: SavedPose) -> None:
    """Write a pose, whole or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    translation, q_xyzw = poses.to_quaternion(pose.T_map_base)
    content = {
        "map": pose.map_identity,
        "translation": translation.tolist(),
        "q_xyzw": q_xyzw.tolist(),
        "covariance": pose.covariance.tolist(),
    }
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")


def load_pose(path: Path) -> SavedPose | None:
    """The saved pose; None if there is no file.

    Raises:
        LocalizationError: the file is damaged.
    """
    try:
        content = json.loads(path.read_text())
        row = np.array([*content["translation"], *content["q_xyzw"]], np.float64)
        covariance = np.array(content["covariance"], np.float64)
        usable = row.shape == (7,) and np.isfinite(row).all() and np.linalg.norm(row[3:]) > 1e-3
        if not (usable and covariance.shape == (6, 6) and np.isfinite(covariance).all()):
            raise ValueError("numbers are missing or not finite")
        if not is_covariance(covariance):
            raise ValueError("the covariance is not one")
        return SavedPose(poses.from_quaternion(row[:3], row[3:]), covariance, str(content["map"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise LocalizationError(
            f"cannot read the saved pose {path}: {reason}; remove it"
        ) from error
