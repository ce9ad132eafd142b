"""Is a pose as well known as its covariance says: normalised errors, and what chance allows.

Errors of frames that follow each other go together: a run of a thousand frames may hold twenty
independent ones. The bounds are for so many (Bar-Shalom, Li, Kirubarajan, "Estimation with
Applications to Tracking and Navigation", 2001, Sec. 5.4; autocorrelation time as Sokal, "Monte
Carlo methods in statistical mechanics", 1997, has it).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from fgsn_ros.errors import TrajectoryError
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.number_rows import read_rows
from fgsn_ros.geometry.trajectory import Trajectory

Array = NDArray[np.float64]

AXES = ("longitudinal", "lateral", "heading")
SIGMAS = (1.0, 2.0, 3.0)
_PLANAR = np.array([0, 1, 5])
_FORM = "c11 c12 ... c66"
_SAME_S = 1e-6
_WINDOW = 5.0
"""The autocorrelation is summed over so many of its own times (Sokal)."""


@dataclass(frozen=True, eq=False)
class PlanarErrors:
    """Signed errors along, across and about, with the covariances that were told with them."""

    stamps: Array
    """(N,) [s]"""
    errors: Array
    """(N, 3) ahead, to the left [m], heading [rad], in the reference's body frame"""
    covariances: Array
    """(N, 3, 3) of the same, in the same frame"""

    def __len__(self) -> int:
        return len(self.stamps)

    def __getitem__(self, kept: NDArray[np.generic]) -> "PlanarErrors":
        """Those of a mask or of indices."""
        return PlanarErrors(self.stamps[kept], self.errors[kept], self.covariances[kept])

    @property
    def sigmas(self) -> Array:
        """Standard deviations (N, 3)."""
        return np.sqrt(np.diagonal(self.covariances, axis1=1, axis2=2))

    @property
    def normalised(self) -> Array:
        """(N, 3) whitened: of unit covariance, if the covariances hold."""
        factors = np.linalg.cholesky(self.covariances)
        whitened: Array = np.linalg.solve(factors, self.errors[..., None])[..., 0]
        return whitened


def planar_errors(estimate: Trajectory, covariances: Array, reference: Trajectory) -> PlanarErrors:
    """Errors of poses (N,) with covariances (N, 6, 6), where the reference covers them.

    Covariances are x y z [m] roll pitch yaw [rad] in the map's axes, as estimates have them.

    Raises:
        TrajectoryError: the reference covers no pose.
    """
    covered = reference.covered(estimate.stamps)
    if not covered.any():
        raise TrajectoryError("no pose with a covariance has a reference")
    stamps, found = estimate.stamps[covered], estimate.poses[covered]
    truth = reference.at(stamps)
    apart = poses.compose(poses.invert(truth), found)
    errors = np.stack([apart[:, 0, 3], apart[:, 1, 3], poses.to_rpy(apart)[:, 2]], axis=1)
    to_body = np.zeros((len(stamps), 6, 6))
    to_body[:, :3, :3] = to_body[:, 3:, 3:] = np.swapaxes(truth[:, :3, :3], 1, 2)
    turned = to_body @ covariances[covered] @ np.swapaxes(to_body, 1, 2)
    return PlanarErrors(stamps, errors, turned[:, _PLANAR[:, None], _PLANAR])


def correlation_time(series: Sequence[Array]) -> float:
    """Samples that count as one, >= 1, of runs (N,) each of a quantity that should be 0 on average.

    1 + 2 sum of the autocorrelation, pooled over the runs, over a window of five such times. The
    mean is not taken off: an error that stays is one sample, not many.
    """
    power = sum(float(run @ run) for run in series) / max(sum(map(len, series)), 1)
    if power <= 0.0:
        return 1.0
    time = 1.0
    for lag in range(1, max(map(len, series))):
        products = [run[lag:] @ run[:-lag] for run in series if len(run) > lag]
        pairs = sum(len(run) - lag for run in series if len(run) > lag)
        time += 2.0 * float(sum(products)) / pairs / power
        if lag >= _WINDOW * time:
            break
    return max(time, 1.0)


@dataclass(frozen=True)
class Consistency:
    """How errors compare with what was said of them."""

    frames: int
    independent: float
    """frames that errors are independent of each other in"""
    nees: float
    """mean normalised estimation error squared of x, y and heading; 3 if honest, less: too wide"""
    band: tuple[float, float]
    """95 % of honest runs of so many independent frames have a `nees` between these"""
    nees_of_axes: tuple[float, ...]
    """along, across and heading alone; 1 if honest"""
    coverage_percent: dict[str, tuple[float, ...]]
    """of each axis, and of the position (see `POSITION`), within 1, 2 and 3 sigma"""
    sigma: tuple[float, ...]
    """root mean square of what was said: along, across [m], heading [deg]"""


def consistency(runs: Sequence[PlanarErrors], copies: int = 1) -> Consistency:
    """Of runs, of which every `copies` show the same frames and so the same errors of the labels.

    Raises:
        ValueError: there is no frame.
    """
    runs = [run for run in runs if len(run)]
    if not runs:
        raise ValueError("consistency needs at least one frame")
    errors = np.concatenate([run.errors for run in runs])
    covariances = np.concatenate([run.covariances for run in runs])
    pooled = PlanarErrors(np.concatenate([run.stamps for run in runs]), errors, covariances)
    whitened = [run.normalised for run in runs]
    time = max(correlation_time([run[:, k] for run in whitened]) for k in range(3))
    independent = max(len(errors) / copies / time, 1.0)
    degrees = 3.0 * independent
    low, high = chi2.ppf((0.025, 0.975), degrees) / independent
    sigmas = pooled.sigmas
    shares = np.abs(errors) / sigmas
    distance = np.hypot(errors[:, 0], errors[:, 1]) / np.hypot(sigmas[:, 0], sigmas[:, 1])
    named = {**dict(zip(AXES, shares.T, strict=True)), "position": distance}
    coverage = {
        name: tuple(100.0 * float((share <= k).mean()) for k in SIGMAS)
        for name, share in named.items()
    }
    rms = np.sqrt((sigmas**2).mean(axis=0)) * [1.0, 1.0, np.degrees(1.0)]
    return Consistency(
        frames=len(errors),
        independent=independent,
        nees=float((np.concatenate(whitened) ** 2).sum(axis=1).mean()),
        band=(float(low), float(high)),
        nees_of_axes=tuple(float(v) for v in (shares**2).mean(axis=0)),
        coverage_percent=coverage,
        sigma=tuple(float(v) for v in rms),
    )


def write_covariances(path: Path, stamps: Array, covariances: Array) -> None:
    """Write stamps (N,) and covariances (N, 6, 6), a row each, as PoseWithCovariance has them.

    Raises:
        OSError: the file cannot be written.
    """
    rows = np.concatenate([stamps[:, None], covariances.reshape(-1, 36)], axis=1)
    np.savetxt(path, rows, fmt=["%.9f", *["%.9g"] * 36], header=f"timestamp {_FORM}")


def read_covariances(path: Path, stamps: Array) -> Array:
    """Covariances (N, 6, 6) of an estimate's poses at stamps (N,).

    Raises:
        RecordingError: the file cannot be read, or is of another form.
        TrajectoryError: a pose has none, or one that no errors have.
    """
    values = read_rows(path, 37, f"timestamp {_FORM}").values
    values = values[np.argsort(values[:, 0], kind="stable")]
    nearest = np.clip(np.searchsorted(values[:, 0], stamps - _SAME_S), 0, len(values) - 1)
    missing = ~(np.abs(values[nearest, 0] - stamps) <= _SAME_S)
    if missing.any():
        raise TrajectoryError(
            f"{path} has no covariance for the pose at {stamps[missing][0]:.6f} s; take the one "
            "that was written with the trajectory"
        )
    covariances: Array = values[nearest, 1:].reshape(-1, 6, 6)
    planar = covariances[:, _PLANAR[:, None], _PLANAR]
    if not np.isfinite(planar).all() or (np.linalg.eigvalsh(planar)[:, 0] <= 0.0).any():
        raise TrajectoryError(f"{path} holds a covariance of x, y and yaw that is not positive")
    return covariances
