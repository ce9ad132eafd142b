"""Which pixels of two rendered frames show the same point, from geometry."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import Camera
from fgsn_ros.simulation.drive import SimulatedDrive
from fgsn_ros.simulation.materials import CLASS_NAMES, VEHICLE
from fgsn_ros.simulation.render import RenderedFrame

Array = NDArray[np.float64]


@dataclass(frozen=True)
class View:
    """A rendered frame and where it was seen from."""

    frame: RenderedFrame
    T_map_camera: Array  # (4, 4)
    camera: Camera
    station: float  # m along the street


def view(drive: SimulatedDrive, index: int) -> View:
    """Render frame `index` of a drive as a view."""
    step = round(50.0 / drive.settings.rate_hz)
    station = float(drive.route.station[index * step])
    camera = next(iter(drive.cameras.values())).camera
    return View(drive.render(index), drive.T_map_camera(index), camera, station)


def correspond(
    reference: View, target: View, count: int, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Pixels (N, 2) of the reference and of the target that show the same points, N <= count.

    A point is kept where the target's depth at its projection agrees, where the reference's depth
    agrees with the target's point moved back, and where both show the same standing surface.
    """
    pixels = _sampled(reference.frame, 3 * count, rng)
    moved, seen = _move(reference, target, pixels.astype(float))
    nearest = np.zeros((len(moved), 2), dtype=int)
    nearest[seen] = np.rint(moved[seen]).astype(int)
    back, back_seen = _move(target, reference, nearest.astype(float))
    same = _surface(reference, pixels) == _surface(target, nearest)
    kind = target.frame.classes[nearest[:, 1], nearest[:, 0]]
    same &= kind == reference.frame.classes[pixels[:, 1], pixels[:, 0]]
    # Rounding to the target's pixel moves the point by up to 0.7 px there; a wrong depth, more
    scale = _depth(target, nearest) / _depth(reference, pixels)
    with np.errstate(invalid="ignore"):
        returned = np.linalg.norm(back - pixels, axis=1) <= 1.0 + 1.5 * np.maximum(scale, 0.0)
    kept = np.flatnonzero(
        seen & back_seen & same & returned & _agrees(reference, target, pixels, nearest)
    )
    kept = kept[:count]
    return pixels[kept].astype(float), moved[kept]


def _sampled(frame: RenderedFrame, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Pixels (N, 2) on standing surfaces; rare classes are taken more often than common ones."""
    usable = (frame.surfaces >= 0) & (frame.classes != VEHICLE) & (frame.depth < 120.0)
    flat = np.flatnonzero(usable)
    if not len(flat):
        return np.zeros((0, 2), dtype=np.int64)
    classes = frame.classes.reshape(-1)[flat]
    share = np.bincount(classes, minlength=len(CLASS_NAMES)) / len(flat)
    weight = 1.0 / np.sqrt(share[classes])
    size = min(count, len(flat))
    # Efraimidis-Spirakis: the largest keys of log(u) / w are a weighted sample
    keys = np.log(rng.random(len(flat))) / weight
    chosen = flat[np.argpartition(-keys, size - 1)[:size]]
    chosen = chosen[rng.permutation(size)]
    width = frame.classes.shape[1]
    return np.stack([chosen % width, chosen // width], axis=1)


def _points(source: View, pixels: Array) -> Array:
    """Map points (N, 3) of pixels at their rendered depth."""
    rays, _ = source.camera.unproject(pixels)
    depth = _depth(source, np.rint(pixels).astype(int))
    return poses.transform(source.T_map_camera, rays * depth[:, None])


def _move(source: View, target: View, pixels: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Where points seen at pixels of the source lie in the target's image, and whether they do."""
    with np.errstate(invalid="ignore"):
        points = poses.transform(poses.invert(target.T_map_camera), _points(source, pixels))
        moved, valid = target.camera.project(points)
    return moved, valid & np.isfinite(moved).all(axis=1)


def _depth(source: View, pixels: NDArray[np.int64]) -> Array:
    depth = source.frame.depth[pixels[:, 1], pixels[:, 0]].astype(float)
    return np.where(np.isfinite(depth), depth, np.nan)


def _surface(source: View, pixels: NDArray[np.int64]) -> NDArray[np.int32]:
    return source.frame.surfaces[pixels[:, 1], pixels[:, 0]]


def _agrees(
    reference: View, target: View, pixels: NDArray[np.int64], nearest: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Whether the target's depth is that of the reference's point.

    On a surface seen at a grazing angle the depth changes within a pixel: the tolerance is the
    range of depths of the pixel's neighbours, and 2 %.
    """
    points = _points(reference, pixels.astype(float))
    expected = poses.transform(poses.invert(target.T_map_camera), points)[:, 2]
    height, width = target.frame.depth.shape
    around = []
    for du, dv in ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)):
        u = np.clip(nearest[:, 0] + du, 0, width - 1)
        v = np.clip(nearest[:, 1] + dv, 0, height - 1)
        around.append(target.frame.depth[v, u].astype(float))
    with np.errstate(invalid="ignore"):
        error = np.abs(around[0] - expected)
        steps = np.abs(np.array(around[1:]) - around[0])
        slope = np.sort(steps, axis=0)[1]  # of four neighbours; an edge shows in one or two
        agreed: NDArray[np.bool_] = error <= 0.02 * expected + 0.02 + np.minimum(
            slope, 0.1 * expected
        )
    return agreed
