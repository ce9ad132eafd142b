import numpy as np

from fgsn_ros.correspondences.seen_surface import SeenSurface


def grid(step=8, width=160, height=96):
    v, u = np.mgrid[0 : height : float(step), 0 : width : float(step)]
    return np.stack([u.ravel(), v.ravel()], axis=-1) + 0.01 * np.arange(u.size)[:, None] % 0.37


def test_a_plane_is_interpolated_exactly():
    def depth(pixels):
        return 1.0 / (0.02 + pixels @ [2e-4, 1.5e-3])

    surface = SeenSurface(grid(), depth(grid()))
    asked = np.random.default_rng(0).uniform((5.0, 5.0), (145.0, 80.0), (200, 2))
    assert surface.holds(asked, depth(asked), 3.0, 1e-6).all()
    assert surface.holds(asked, 1.09 * depth(asked), 3.0, 0.1).all()
    assert not surface.holds(asked, 1.11 * depth(asked), 3.0, 0.1).any()
    assert not surface.holds(asked, 0.89 * depth(asked), 3.0, 0.1).any()


def test_what_lies_behind_is_left_out_up_to_the_border_of_what_is_nearer():
    pixels = grid()
    surface = SeenSurface(pixels, np.where(pixels[:, 0] < 80.0, 5.0, 20.0))
    asked = np.stack([np.linspace(5.0, 145.0, 141), np.full(141, 40.0)], axis=-1)
    behind = surface.holds(asked, np.full(141, 20.0), 3.0, 0.05)
    assert not behind[asked[:, 0] < 79.0].any()
    assert behind[asked[:, 0] > 90.0].all()


def test_a_pixel_far_from_the_points_is_not_on_the_surface():
    pixels = grid()
    kept = (np.abs(pixels - (80.0, 48.0)) > 20.0).any(axis=1)
    surface = SeenSurface(pixels[kept], np.full(kept.sum(), 9.0))
    asked = np.array([[80.0, 48.0], [30.0, 48.0], [500.0, 48.0]])
    np.testing.assert_array_equal(
        surface.holds(asked, np.full(3, 9.0), 3.0, 0.05), [False, True, False]
    )


def test_points_that_span_no_triangle_are_no_surface():
    asked, depth = np.array([[4.0, 4.0]]), np.array([5.0])
    for pixels in (
        np.zeros((0, 2)),
        np.array([[4.0, 4.0]]),
        np.arange(10.0).repeat(2).reshape(-1, 2),
    ):
        assert (
            not SeenSurface(pixels, np.full(len(pixels), 5.0)).holds(asked, depth, 3.0, 0.5).any()
        )
