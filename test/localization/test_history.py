import numpy as np
import pytest

from fgsn_ros.geometry import poses
from fgsn_ros.localization.history import History

TWIST = np.array([2.0, 0.1, 0.0, 0.0, 0.0, 0.3])


def odometry(start, end):
    return poses.exp((end - start) * TWIST)


def noisy_motions(rng, count):
    noise = poses.exp(0.05 * rng.standard_normal((count, 6)))
    return poses.compose(odometry(0.0, 1.0), noise)


def test_a_particle_finds_where_its_own_ancestor_was_through_every_resampling():
    """Each particle's line of descent is followed by hand beside the chained motions."""
    rng = np.random.default_rng(0)
    history = History()
    history.start(0.0, poses.identity((50,)))
    lines = [poses.exp(rng.standard_normal((50, 6)))]  # poses of each one's line, by stamp
    for stamp in range(1, 6):
        motion = noisy_motions(rng, 50)
        history.add(float(stamp), motion)
        lines.append(poses.compose(lines[-1], motion))
        for _ in range(2):  # a late label map resamples again at the same stamp
            drawn = rng.integers(50, size=50)
            history.descend(drawn)
            lines = [line[drawn] for line in lines]
    for stamp in range(6):
        T_now_then = history.back_to(float(stamp), odometry)
        np.testing.assert_allclose(lines[5] @ T_now_then, lines[stamp], atol=1e-9)
    between = lines[5] @ history.back_to(2.5, odometry)
    half = poses.rotation_angle(poses.invert(lines[2]) @ between)
    assert (half < poses.rotation_angle(poses.invert(lines[2]) @ lines[3]) + 0.2).all()
    for stamp, line in ((2, 2), (3, 3)):  # the noise of the step comes in little by little
        near = lines[5] @ history.back_to(stamp + (1e-6 if stamp == 2 else -1e-6), odometry)
        np.testing.assert_allclose(near, lines[line], atol=1e-5)


def test_within_a_step_without_noise_the_past_is_that_of_odometry():
    history = History()
    history.start(0.0, poses.identity((3,)))
    history.add(1.0, np.repeat(odometry(0.0, 1.0)[None], 3, axis=0))
    expected = poses.invert(odometry(0.3, 1.0))
    np.testing.assert_allclose(history.back_to(0.3, odometry)[1], expected, atol=1e-9)
    np.testing.assert_allclose(history.back_to(1.0, odometry)[1], np.eye(4))


def test_fewer_particles_still_find_their_ancestors():
    rng = np.random.default_rng(1)
    history = History()
    history.start(0.0, poses.identity((10,)))
    motion = noisy_motions(rng, 10)
    history.add(1.0, motion)
    history.descend(np.array([7, 7, 3]))
    expected = poses.invert(motion[[7, 7, 3]])
    np.testing.assert_allclose(history.back_to(0.0, odometry), expected)


@pytest.mark.parametrize("stamp", [-0.1, 1.9])
def test_what_is_forgotten_or_was_never_known_is_out_of_reach(stamp):
    history = History()
    assert not history.reaches(stamp)
    history.start(0.0, poses.identity((3,)))
    for known in range(1, 5):
        history.add(float(known), poses.identity((3,)))
    history.forget(2.0)
    assert not history.reaches(stamp)
    assert history.reaches(2.0)
    assert history.back_to(2.0, odometry).shape == (3, 4, 4)
