import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fgsn_ros.errors import CameraError
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import T_BASE_OPTICAL, Camera, CameraMount, warn_of_mounts

SIZE = (640, 360)
MATRIX = (402.0, 396.0, 312.3, 187.9)
CAMERAS = {
    "pinhole": Camera(*SIZE, *MATRIX),
    "barrel": Camera(*SIZE, *MATRIX, "plumb_bob", (-0.17, 0.03, 1e-3, -2e-3, -0.002)),
    "pincushion": Camera(*SIZE, *MATRIX, "plumb_bob", (0.2, 0.05, -2e-3, 1e-3, 0.0)),
    "rational": Camera(
        *SIZE, *MATRIX, "rational_polynomial", (0.5, 0.1, 1e-3, -2e-3, 0.02, 0.8, 0.2, 0.05)
    ),
    "thin prism": Camera(
        *SIZE,
        *MATRIX,
        "rational_polynomial",
        (0.3, -0.04, 1e-3, -2e-3, -0.002, 0.6, -0.01, -0.009, 2e-3, -1e-3, -3e-3, 5e-4),
    ),
    "tilted": Camera(
        *SIZE,
        *MATRIX,
        "plumb_bob",
        (0.334, -0.039, -7e-5, -2e-5, -0.0015, 0.665, -0.0098, -0.0093, 1e-3, 0, 0, 0, 0.02, -0.05),
    ),
    "fisheye": Camera(
        *SIZE, 300.0, 295.0, 312.3, 187.9, "equidistant", (0.02, -0.01, 0.003, -0.001)
    ),
}
cameras = pytest.mark.parametrize("camera", CAMERAS.values(), ids=CAMERAS)


def pixel_grid(camera):
    u, v = np.meshgrid(np.arange(0, camera.width, 7.0), np.arange(0, camera.height, 7.0))
    return np.stack([u, v], axis=-1)


def opencv_project(camera, points):
    none, k = np.zeros(3), np.array(camera.distortion)
    if camera.distortion_model == "equidistant":
        return cv2.fisheye.projectPoints(points[:, None], none, none, camera.matrix, k)[0][:, 0]
    return cv2.projectPoints(points, none, none, camera.matrix, k)[0][:, 0]


def opencv_unproject(camera, pixels):
    criteria = (cv2.TERM_CRITERIA_COUNT + cv2.TERM_CRITERIA_EPS, 500, 1e-14)
    matrix, k = camera.matrix, np.array(camera.distortion)
    if camera.distortion_model == "equidistant":
        return cv2.fisheye.undistortPoints(pixels[:, None], matrix, k, criteria=criteria)[:, 0]
    if hasattr(cv2, "undistortPointsIter"):  # OpenCV 4
        return cv2.undistortPointsIter(pixels, matrix, k, None, None, criteria)[:, 0]
    return cv2.undistortPoints(pixels, matrix, k, criteria=criteria)[:, 0]


@cameras
def test_projection_agrees_with_opencv(camera):
    rng = np.random.default_rng(0)
    points = rng.uniform((-4, -3, 0.5), (4, 3, 20), (2000, 3))
    pixels, valid = camera.project(points)
    assert 500 < valid.sum() < 2000
    np.testing.assert_allclose(pixels[valid], opencv_project(camera, points[valid]), atol=1e-9)


@cameras
def test_unprojection_agrees_with_opencv(camera):
    pixels = pixel_grid(camera).reshape(-1, 2)
    rays, valid = camera.unproject(pixels)
    assert valid.all()
    expected = opencv_unproject(camera, pixels)
    # A millionth of a pixel, as an angle.
    np.testing.assert_allclose(rays[:, :2], expected, atol=1e-6 / 400, rtol=1e-8)


@cameras
def test_pixels_round_trip_through_rays(camera):
    pixels = pixel_grid(camera)
    rays, valid = camera.unproject(pixels)
    assert valid.all()
    assert (rays[..., 2] == 1.0).all()
    back, inside = camera.project(rays * 3.7)
    assert inside.all()
    np.testing.assert_allclose(back, pixels, atol=1e-6)


@settings(max_examples=100, deadline=None)
@given(
    st.tuples(*[st.floats(-0.4, 0.4)] * 2, *[st.floats(-5e-3, 5e-3)] * 2, st.floats(-0.1, 0.1)),
    st.floats(0.0, 0.9),
    st.floats(-np.pi, np.pi),
)
def test_any_plumb_bob_camera_round_trips_well_inside_its_field_of_view(k, share, bearing):
    camera = Camera(20000, 12000, *(300.0, 310.0, 9999.5, 5999.5), "plumb_bob", k)
    radius = share * min(camera.largest_radius, 1.5)
    ray = np.array([radius * np.cos(bearing), radius * np.sin(bearing), 1.0])
    pixel, seen = camera.project(ray)
    back, valid = camera.unproject(pixel)
    assert seen
    # Tangential terms can fold the image inside the radial limit; then it says so.
    if valid and np.hypot(*k[2:4]) < 1e-3:
        np.testing.assert_allclose(back, ray, atol=1e-6)


@cameras
def test_points_behind_the_camera_are_invalid(camera):
    pixels, valid = camera.project([[0.1, 0.1, -1.0], [0.1, 0.1, 0.0], [0.0, 0.0, 1.0]])
    assert valid.tolist() == [False, False, True]
    assert np.isnan(pixels[:2]).all()
    np.testing.assert_allclose(pixels[2], camera.matrix[:2, 2])


@cameras
def test_points_that_are_not_finite_are_invalid(camera):
    points = [[np.nan, 0, 1], [0, np.inf, 1], [0, 0, np.nan], [0, 0, np.inf], [1e308, 0, 1e-308]]
    pixels, valid = camera.project(points)
    assert not valid.any()
    assert np.isnan(pixels).all()
    assert not camera.unproject([[np.nan, 3.0], [np.inf, 3.0]])[1].any()


@cameras
def test_the_image_ends_half_a_pixel_beyond_its_outer_pixel_centres(camera):
    u, v = camera.width - 0.5, camera.height - 0.5
    corners = np.array([[-0.49, -0.49], [u - 0.01, v - 0.01], [-0.51, 50.0], [u + 0.01, 50.0]])
    rays, valid = camera.unproject(corners)
    assert valid.all()
    assert camera.project(rays)[1].tolist() == [True, True, False, False]


def test_a_point_that_folds_back_into_the_image_is_invalid():
    camera = Camera(*SIZE, *MATRIX, "plumb_bob", (-0.3, 0.0, 0.0, 0.0, 0.0))
    limit = np.sqrt(1 / 0.9)  # 1 - 3 * 0.3 r^2 = 0
    assert camera.largest_radius == pytest.approx(limit)
    inside, beyond = 0.5 * limit, 1.6 * limit
    points = np.array([[inside, 0.0, 1.0], [beyond, 0.0, 1.0]])
    folded = opencv_project(camera, points[1:])[0]
    assert 0 <= folded[0] < camera.width
    pixels, valid = camera.project(points)
    assert valid.tolist() == [True, False]
    assert np.isnan(pixels[1]).all()


def test_a_pixel_that_no_ray_reaches_is_invalid():
    camera = Camera(*SIZE, *MATRIX, "plumb_bob", (-0.3, 0.0, 0.0, 0.0, 0.0))
    farthest = camera.cx + camera.fx * camera.largest_radius * 2 / 3
    rays, valid = camera.unproject([[farthest - 1.0, camera.cy], [farthest + 1.0, camera.cy]])
    assert valid.tolist() == [True, False]
    assert np.isnan(rays[1]).all()


def test_a_pole_of_the_rational_model_bounds_the_field_of_view():
    k = (0.0, 0.0, 0.0, 0.0, 0.0, -0.25, 0.0, 0.0)
    camera = Camera(*SIZE, *MATRIX, "rational_polynomial", k)
    assert camera.largest_radius == pytest.approx(2.0)
    assert not camera.project([[2.5, 0.0, 1.0]])[1].any()


def test_a_fisheye_whose_polynomial_turns_is_bounded_there():
    camera = Camera(*SIZE, *MATRIX, "equidistant", (-0.5, 0.0, 0.0, 0.0))
    assert np.arctan(camera.largest_radius) == pytest.approx(np.sqrt(1 / 1.5))
    assert np.isinf(CAMERAS["fisheye"].largest_radius)


@cameras
def test_a_label_cell_covers_its_stride_of_pixels(camera):
    stride = 8
    grid = camera.at_stride(stride)
    assert (grid.width, grid.height) == (80, 45)
    points, valid = camera.unproject(pixel_grid(camera).reshape(-1, 2) + 0.3)
    pixels, seen = camera.project(points)
    cells, in_grid = grid.project(points)
    assert (valid & seen & in_grid).all()
    assert (np.rint(cells) == np.floor((pixels + 0.5) / stride)).all()


def test_a_grid_rounds_up_where_the_stride_does_not_divide():
    grid = Camera(1241, 376, *MATRIX).at_stride(16)
    assert (grid.width, grid.height) == (78, 24)


@cameras
def test_a_resized_camera_scales_pixel_edges(camera):
    half = camera.scaled(camera.width // 2, camera.height // 3)
    pixels = np.array([[-0.5, -0.5], [100.0, 200.0]])
    rays, _ = camera.unproject(pixels)
    expected = (pixels + 0.5) / (2.0, 3.0) - 0.5
    np.testing.assert_allclose(half.unproject(expected)[0], rays, atol=1e-9)


def test_an_undistorted_camera_is_a_pinhole():
    camera = CAMERAS["fisheye"].undistorted()
    assert not camera.is_distorted
    assert CAMERAS["fisheye"].is_distorted
    pixel, _ = camera.project([0.5, -0.25, 2.0])
    np.testing.assert_allclose(pixel, [camera.cx + camera.fx / 4, camera.cy - camera.fy / 8])


def test_camera_info_fields_make_a_camera():
    k = [400.0, 0, 310.0, 0, 405.0, 170.0, 0, 0, 1]
    camera = Camera.from_camera_info(640, 360, "", [], k)
    assert camera == Camera(640, 360, 400.0, 405.0, 310.0, 170.0)
    assert camera.distortion == (0.0,) * 5
    rational = Camera.from_camera_info(640, 360, "rational_polynomial", [0.1] * 8 + [0.0] * 6, k)
    assert rational.distortion == (0.1,) * 8
    full = Camera.from_camera_info(640, 360, "rational_polynomial", [0.1] * 12, k)
    assert full.distortion == (*[0.1] * 12, 0.0, 0.0)


def test_what_a_tilted_sensor_turns_to_behind_is_invalid():
    camera = Camera(*SIZE, *MATRIX, "plumb_bob", (0.0,) * 12 + (0.0, 0.3))
    away = [[-40.0, 0.0, 1.0], [40.0, 0.0, 1.0], [0.1, 0.1, 1.0]]
    assert camera.project(away)[1].tolist() == [False, False, True]


@pytest.mark.parametrize("count", [4, 5, 8, 12, 14])
def test_plumb_bob_takes_as_many_coefficients_as_opencv(count):
    d = CAMERAS["tilted"].distortion[:count]
    camera = Camera.from_camera_info(*SIZE, "plumb_bob", d, CAMERAS["pinhole"].matrix.ravel())
    assert camera.distortion_model == ("plumb_bob" if count <= 5 else "rational_polynomial")
    point = np.array([[0.3, -0.2, 1.0]])
    none = np.zeros(3)
    expected, _ = cv2.projectPoints(point, none, none, camera.matrix, np.array(d))
    np.testing.assert_allclose(camera.project(point)[0], expected[0], atol=1e-9)


NAMES = {
    "plumb_bob": ["Plumb_Bob", "radtan", "radial-tangential", "Brown Conrady"],
    "rational_polynomial": ["Rational Polynomial", "rational"],
    "equidistant": ["fisheye", "FISHEYE", "kannala_brandt4", "Kannala Brandt4", "equidistant "],
}


@pytest.mark.parametrize(
    ("model", "name"), [(model, name) for model, names in NAMES.items() for name in names]
)
def test_a_model_is_known_by_each_of_its_names(model, name):
    k = CAMERAS["pinhole"].matrix.ravel()
    camera = Camera.from_camera_info(*SIZE, name, [0.1, 0.01, 0.0, 0.0], k)
    assert camera.distortion_model == model
    assert camera.distortion[:2] == (0.1, 0.01)


@pytest.mark.parametrize("name", ["", "none", "pinhole", "equidistant", "inverse_brown_conrady"])
@pytest.mark.parametrize("d", [[], [0.0] * 5])
def test_without_coefficients_there_is_no_distortion_whatever_its_name(name, d):
    k = CAMERAS["pinhole"].matrix.ravel()
    assert Camera.from_camera_info(*SIZE, name, d, k) == CAMERAS["pinhole"]


def test_skew_moves_u_with_v_as_in_opencvs_fisheye():
    lens = CAMERAS["fisheye"]
    k = lens.matrix.ravel()
    k[1] = -0.97
    camera = Camera.from_camera_info(*SIZE, "fisheye", lens.distortion, k)
    rng = np.random.default_rng(0)
    points = rng.uniform((-2, -1, 2), (2, 1, 5), (100, 3))
    none = np.zeros(3)
    expected, _ = cv2.fisheye.projectPoints(
        points[:, None], none, none, lens.matrix, np.array(lens.distortion), alpha=-0.97 / lens.fx
    )
    pixels, valid = camera.project(points)
    assert valid.all()
    np.testing.assert_allclose(pixels, expected[:, 0], atol=1e-9)
    rays, valid = camera.unproject(pixels)
    assert valid.all()
    np.testing.assert_allclose(rays, points / points[:, 2:], atol=1e-8)
    half, _ = camera.scaled(320, 180).project(points)
    np.testing.assert_allclose(half, (pixels + 0.5) / 2 - 0.5, atol=1e-9)


@pytest.mark.parametrize(
    ("model", "d", "k"),
    [
        ("fisheye_of_its_own", [0.1], [400.0, 0, 310, 0, 400, 170, 0, 0, 1]),
        ("", [0.1], [400.0, 0, 310, 0, 400, 170, 0, 0, 1]),
        ("plumb_bob", [0.1] * 15, [400.0, 0, 310, 0, 400, 170, 0, 0, 1]),
        ("fisheye", [0.1] * 5, [400.0, 0, 310, 0, 400, 170, 0, 0, 1]),
        ("plumb_bob", [1e308], [400.0, 0, 310, 0, 400, 170, 0, 0, 1]),
        ("plumb_bob", [0.1] * 13 + [1.5], [400.0, 0, 310, 0, 400, 170, 0, 0, 1]),
        ("plumb_bob", [], [1e9, 0, 310, 0, 1e9, 170, 0, 0, 1]),
        ("plumb_bob", [], [1e-3, 0, 310, 0, 1e-3, 170, 0, 0, 1]),
        ("plumb_bob", [], [-400.0, 0, 310, 0, -400, 170, 0, 0, 1]),
        ("plumb_bob", [], [400.0, 0, 1e300, 0, 400, 170, 0, 0, 1]),
        ("plumb_bob", [np.nan], [400.0, 0, 310, 0, 400, 170, 0, 0, 1]),
        ("plumb_bob", [], [0.0] * 9),
        ("plumb_bob", [], [400.0, 0, np.nan, 0, 400, 170, 0, 0, 1]),
        ("plumb_bob", [], [400.0, 0, 310]),
        ("plumb_bob", [], [400.0, 500.0, 310, 0, 400, 170, 0, 0, 1]),
    ],
)
def test_camera_info_that_cannot_be_used_is_refused(model, d, k):
    with pytest.raises(CameraError) as error:
        Camera.from_camera_info(640, 360, model, d, k)
    assert "\n" not in str(error.value)


def test_a_camera_without_pixels_is_refused():
    with pytest.raises(CameraError, match="0 x 360"):
        Camera(0, 360, *MATRIX)
    with pytest.raises(CameraError, match="more than 65535 pixels"):
        Camera(10**400, 360, *MATRIX)
    with pytest.raises(CameraError, match="stride"):
        CAMERAS["pinhole"].at_stride(0)


@pytest.mark.parametrize(
    ("rpy_deg", "axes", "doubt"),
    [
        ((0, 0, 0), T_BASE_OPTICAL, ""),
        ((0, 40, 90), T_BASE_OPTICAL, ""),
        ((180, -60, 0), T_BASE_OPTICAL, ""),
        ((0, -90, 0), T_BASE_OPTICAL, "the sky (90 deg)"),
        ((0, 90, 0), T_BASE_OPTICAL, "the ground (90 deg)"),
        ((0, 0, 0), np.eye(4), "the sky (90 deg)"),
        ((0, 0, 135), np.eye(4), "the sky (90 deg)"),
        ((0, 20, 0), np.eye(4), "the sky (70 deg)"),
        ((180, 0, 0), np.eye(4), "the ground (90 deg)"),
    ],
)
def test_an_optical_axis_up_or_down_is_doubted(rpy_deg, axes, doubt, caplog):
    T = poses.from_xyz_rpy([1.0, 0.0, 1.5], np.radians(rpy_deg)) @ axes
    mount = CameraMount(CAMERAS["pinhole"], T, "camera_link")
    assert doubt in mount.doubt
    assert bool(mount.doubt) == bool(doubt)
    warn_of_mounts({"front": mount})
    assert ("front: the optical axis of camera_link" in caplog.text) == bool(doubt)
