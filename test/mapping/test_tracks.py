import cv2
import numpy as np
import pytest

from fgsn_ros.errors import SettingsError
from fgsn_ros.mapping.tracks import FeatureTracker, Tracks, TrackSettings, merged, no_tracks


def texture(seed=0, height=150, width=220):
    noise = np.random.default_rng(seed).random((height // 4, width // 4), np.float32)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC) * 200 + 20


def shifted(image, du, dv):
    matrix = np.array([[1.0, 0.0, du], [0.0, 1.0, dv]])
    moved = cv2.warpAffine(image, matrix, image.shape[::-1], flags=cv2.INTER_CUBIC)
    return np.clip(np.round(moved), 0, 255).astype(np.uint8)


def tracked(images, **changes):
    tracker = FeatureTracker(TrackSettings(**changes))
    for number, image in enumerate(images):
        tracker.add(image, number)
    return tracker.tracks()


def test_tracks_follow_a_moving_image_to_a_tenth_of_a_pixel():
    image = texture()
    tracks = tracked([shifted(image, 3.3 * i, 1.7 * i) for i in range(5)])
    assert len(tracks) > 50
    starts = tracks.starts
    first = tracks.pixels[starts[:-1]][tracks.track]
    frame = (tracks.frame - tracks.frame[starts[:-1]][tracks.track])[:, None]
    inside = (first > 25).all(axis=1) & (first < (195, 125)).all(axis=1)
    error = np.linalg.norm(tracks.pixels - first - frame * (3.3, 1.7), axis=1)[inside]
    assert np.median(error) < 0.1
    assert np.mean(error < 0.5) > 0.97


def test_colour_and_grey_images_give_the_same_tracks():
    grey = [shifted(texture(), 2.0 * i, 0.0) for i in range(4)]
    a, b = tracked(grey), tracked([np.repeat(g[:, :, None], 3, axis=2) for g in grey])
    np.testing.assert_array_equal(a.pixels, b.pixels)


def test_every_cell_with_texture_has_a_track():
    image = shifted(texture(), 0.0, 0.0)
    tracks = tracked([image] * 3, cell_px=20)
    cells = np.floor(tracks.pixels[tracks.frame == 0] / 20).astype(int)
    inner = {(u, v) for u in range(11) for v in range(7)}
    assert len(inner & set(map(tuple, cells))) >= 0.9 * len(inner)


def test_points_that_leave_are_replaced_where_the_image_is_new():
    image = texture(width=400)
    tracks = tracked([shifted(image, -12.0 * i, 0.0)[:, :220] for i in range(8)])
    entered = tracks.pixels[tracks.starts[:-1]][tracks.frame[tracks.starts[:-1]] > 0]
    # twice the strip's share of the image's width
    assert np.mean(entered[:, 0] > 180) > 2 * 40 / 220


def test_the_number_of_live_tracks_is_bounded():
    tracks = tracked([shifted(texture(), 2.0 * i, 0.0) for i in range(6)], cell_px=4, max_live=100)
    assert np.bincount(tracks.frame).max() <= 130


def test_a_blank_image_has_no_tracks():
    assert len(tracked([np.full((60, 90), 128, np.uint8)] * 4)) == 0


def test_no_image_has_no_tracks():
    assert len(tracked([])) == 0


def test_unrelated_images_are_not_tracked_through():
    tracks = tracked([shifted(texture(seed), 0.0, 0.0) for seed in range(4)])
    assert len(tracks) < 30


def test_short_tracks_are_left_out_and_the_rest_numbered_without_gaps():
    images = [shifted(texture(), 6.0 * i, 0.0) for i in range(7)]
    tracks = tracked(images, min_views=5)
    counts = np.bincount(tracks.track)
    assert counts.min() >= 5
    assert len(counts) == len(tracks)
    assert (np.diff(tracks.track) >= 0).all()
    same = np.diff(tracks.track) == 0
    assert (np.diff(tracks.frame)[same] == 1).all()


def test_merged_tracks_keep_their_observations_apart():
    a = Tracks(np.array([0, 0, 1]), np.array([0, 2, 1]), np.zeros((3, 2), np.float32))
    both = merged([a, no_tracks(), a])
    np.testing.assert_array_equal(both.track, [0, 0, 1, 2, 2, 3])
    np.testing.assert_array_equal(both.starts, [0, 2, 3, 5, 6])
    assert len(merged([])) == 0


def test_settings_out_of_range_are_refused():
    for change in ({"cell_px": 2}, {"window_px": 10}, {"min_views": 1}, {"levels": 9}):
        with pytest.raises(SettingsError, match=next(iter(change))):
            TrackSettings(**change)


def test_tracks_that_are_taken_as_they_end_are_all_tracks():
    images = [shifted(texture(width=400), -9.0 * i, 0.0)[:, :220] for i in range(9)]
    expected = tracked(images)
    tracker, taken = FeatureTracker(TrackSettings()), []
    for number, image in enumerate(images):
        tracker.add(image, number)
        if number % 3 == 2:
            taken.append(tracker.take_ended())
            live = tracker.tracks()
            assert tracker.first_frame <= live.frame.min(initial=number)
    got = merged([*taken, tracker.tracks()])
    assert all(len(part) for part in taken[1:])

    def rows(tracks):
        starts = tracks.starts[:-1][tracks.track]
        first = np.c_[tracks.frame, tracks.pixels][starts]
        return sorted(map(tuple, np.c_[first, tracks.frame, tracks.pixels].tolist()))

    assert rows(got) == rows(expected)
