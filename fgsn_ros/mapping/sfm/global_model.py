"""A model of images without scale, by COLMAP's global mapper.

Pan et al., "Global structure-from-motion revisited", ECCV 2024: rotations are averaged over all
pairs, then cameras and points placed at once. No first pair need be found, which two views along
the direction of travel do not give.
"""

import signal
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.config import require_extra
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import Camera
from fgsn_ros.mapping.sfm.colmap_model import PIXEL_CENTRE, colmap_parameters
from fgsn_ros.mapping.sfm.two_views import TwoViews

FloatArray = NDArray[np.float64]
Pair = tuple[int, int]
_SEED = 0
_SILENT = 2  # errors alone
_LEAST_ANGLE_DEG = 1.0
_SURE_PX = 1.0


@dataclass(frozen=True, eq=False)
class ImageModel:
    """Images and points in one frame of any scale, place and direction."""

    images: NDArray[np.int64]
    """(K,) those that were placed, ascending."""
    T_world_camera: FloatArray
    """(K, 4, 4)."""
    camera: Camera
    points: int
    observations: int
    error_px: float
    """median reprojection error of the points; infinite without any"""
    reconstruction: Any
    """pycolmap's; its images count from 1"""


def global_model(
    pixels: Sequence[NDArray[np.float32]],
    views: Mapping[Pair, TwoViews],
    camera: Camera,
    refined: bool,
    max_error_px: float,
) -> ImageModel | None:
    """The largest model of images; None if there is none.

    Args:
        pixels: Of the features of each image (M, 2).
        views: What pairs of images share.
        camera: Of all images; where it is refined, a guess of a plumb_bob without more than k1.
        refined: Estimate the focal length and k1.
        max_error_px: Largest reprojection error of an observation that is kept.

    Raises:
        SettingsError: the extra `poses` is not installed.
    """
    pycolmap = colmap()
    with _silence(), tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "database.db"
        _write_database(database, pixels, views, camera, refined)
        models = pycolmap.global_mapping(database, folder, folder, _options(refined))
    if not models:
        return None
    model = max(models.values(), key=lambda each: each.num_reg_images())
    with _silence():
        _adjust(model, refined, max_error_px)
    return _image_model(model, camera, refined)


def colmap() -> Any:
    """The module pycolmap.

    Its import takes SIGTERM away from the process, to print a stack and die; here what is to be
    removed before goes first, as ever.

    Raises:
        SettingsError: the extra `poses` is not installed.
    """
    require_extra("poses", "pycolmap")
    before = signal.getsignal(signal.SIGTERM)
    import pycolmap

    if before is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)
    return pycolmap


@contextmanager
def _silence() -> Iterator[None]:
    """COLMAP says what it does on stderr; here only what is wrong."""
    pycolmap = colmap()
    before = pycolmap.logging.minloglevel
    pycolmap.logging.minloglevel = _SILENT
    try:
        yield
    finally:
        pycolmap.logging.minloglevel = before


def _options(refined: bool) -> Any:
    pycolmap = colmap()
    options = pycolmap.GlobalPipelineOptions()
    options.random_seed = _SEED
    # The relative poses are ours, from calibrated rays.
    options.decompose_relative_pose = False
    options.mapper.bundle_adjustment.refine_focal_length = refined
    options.mapper.bundle_adjustment.refine_extra_params = refined
    options.mapper.bundle_adjustment.ceres.use_gpu = False
    options.mapper.global_positioning.use_gpu = False
    return options


def _write_database(
    path: Path,
    pixels: Sequence[NDArray[np.float32]],
    views: Mapping[Pair, TwoViews],
    camera: Camera,
    refined: bool,
) -> None:
    pycolmap = colmap()
    database = pycolmap.Database.open(path)
    own = _colmap_camera(camera, refined)
    own.camera_id = database.write_camera(own)
    rig = pycolmap.Rig()
    rig.add_ref_sensor(own.sensor_id)
    rig_id = database.write_rig(rig)
    for number, found in enumerate(pixels, 1):
        image = pycolmap.Image(name=f"{number:06d}", camera_id=own.camera_id)
        image.image_id = number
        database.write_image(image, use_image_id=True)
        frame = pycolmap.Frame()
        frame.rig_id = rig_id
        frame.add_data_id(pycolmap.data_t(own.sensor_id, number))
        database.write_frame(frame)
        database.write_keypoints(number, (found + PIXEL_CENTRE).astype(np.float32))
    for (i, j), shared in views.items():
        database.write_two_view_geometry(i + 1, j + 1, _two_view_geometry(shared))
    database.close()


def _colmap_camera(camera: Camera, refined: bool) -> Any:
    pycolmap = colmap()
    if refined:
        focal, k1 = camera.fx, (*camera.distortion, 0.0)[0]
        centre = camera.cx + PIXEL_CENTRE, camera.cy + PIXEL_CENTRE
        model, numbers = "SIMPLE_RADIAL", [focal, *centre, k1]
    else:
        model, numbers = colmap_parameters(camera)
    own = pycolmap.Camera(model=model, width=camera.width, height=camera.height, params=numbers)
    own.has_prior_focal_length = True
    return own


def _two_view_geometry(shared: TwoViews) -> Any:
    pycolmap = colmap()
    geometry = pycolmap.TwoViewGeometry()
    geometry.config = pycolmap.TwoViewGeometryConfiguration.CALIBRATED
    geometry.inlier_matches = np.stack([shared.first, shared.second], axis=1).astype(np.uint32)
    T = poses.invert(poses.from_rotation_translation(shared.R_first_second, shared.direction))
    geometry.cam2_from_cam1 = pycolmap.Rigid3d(pycolmap.Rotation3d(T[:3, :3]), T[:3, 3])
    return geometry


def _adjust(model: Any, refined: bool, max_error_px: float) -> None:
    """Bundle adjustment with Cauchy's loss; then without what does not fit, again."""
    pycolmap = colmap()
    options = pycolmap.BundleAdjustmentOptions()
    options.refine_focal_length = options.refine_extra_params = refined
    options.print_summary = False
    options.ceres.use_gpu = False
    options.ceres.loss_function_type = pycolmap.LossFunctionType.CAUCHY
    options.ceres.loss_function_scale = _SURE_PX
    problem = pycolmap.BundleAdjustmentConfig()
    for number in model.reg_image_ids():
        problem.add_image(number)
    problem.fix_gauge(pycolmap.BundleAdjustmentGauge.TWO_CAMS_FROM_WORLD)
    for factor in (2.0, 1.0, None):
        pycolmap.create_default_bundle_adjuster(options, problem, model).solve()
        if factor is not None:
            kept = pycolmap.ObservationManager(model)
            kept.filter_all_points3D(factor * max_error_px, _LEAST_ANGLE_DEG)
    model.update_point_3d_errors()


def _image_model(model: Any, camera: Camera, refined: bool) -> ImageModel:
    numbers = sorted(model.reg_image_ids())
    T_camera_world = np.tile(np.eye(4), (len(numbers), 1, 1))
    for T, number in zip(T_camera_world, numbers, strict=True):
        T[:3] = model.images[number].cam_from_world().matrix()
    if refined:
        focal, _, _, k1 = next(iter(model.cameras.values())).params.tolist()
        camera = guessed_camera((camera.width, camera.height), focal, k1)
    errors = [point.error for point in model.points3D.values()]
    return ImageModel(
        np.array(numbers, np.int64) - 1,
        poses.invert(T_camera_world),
        camera,
        len(errors),
        model.compute_num_observations(),
        float(np.median(errors)) if errors else float("inf"),
        model,
    )


def guessed_camera(size: tuple[int, int], focal_px: float, k1: float = 0.0) -> Camera:
    """A camera whose principal point is in the middle."""
    width, height = size
    centre = width / 2.0 - PIXEL_CENTRE, height / 2.0 - PIXEL_CENTRE
    return Camera(width, height, focal_px, focal_px, *centre, "plumb_bob", (k1,))
