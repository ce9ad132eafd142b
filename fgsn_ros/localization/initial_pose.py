"""What an initial pose must be."""

import numpy as np

from fgsn_ros.errors import LocalizationError
from fgsn_ros.geometry.arrays import Array


def check_initial_pose(stamp: float, T_map_base: Array, covariance: Array) -> None:
    """Raise LocalizationError unless it is a finite stamp, (4, 4) pose and (6, 6) covariance."""
    shapes = T_map_base.shape, covariance.shape
    finite = all(np.isfinite(values).all() for values in (stamp, T_map_base, covariance))
    if shapes != ((4, 4), (6, 6)) or not finite or not is_covariance(covariance):
        raise LocalizationError(
            "an initial pose needs a finite stamp, a (4, 4) pose and a (6, 6) covariance"
        )


def is_covariance(matrix: Array) -> bool:
    """Whether a finite (n, n) matrix is symmetric and positive semi-definite, up to rounding."""
    tolerance = 1e-9 * max(float(np.abs(matrix).max()), 1e-12)
    symmetric = np.allclose(matrix, matrix.T, rtol=1e-6, atol=tolerance)
    return bool(symmetric and np.linalg.eigvalsh(matrix).min() >= -tolerance)
