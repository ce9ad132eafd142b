"""What became of GPS fixes and the IMU in poses that were made: numbers, and a text."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.geometry import poses
from fgsn_ros.mapping.sfm.gps import loosened, positions_of
from fgsn_ros.mapping.sfm.recording_poses import PosedRecordings

FloatArray = NDArray[np.float64]
Facts = dict[str, Any]
_DISAGREES = 4.0
"""Standard deviations: of three numbers, one in a thousand is as far off by chance."""


def prior_facts(posed: PosedRecordings, number: int) -> Facts:
    """What GPS and IMU told of a session, ready for JSON."""
    return {
        "gps": _gps(posed, number),
        "imu": _imu(posed, number),
        "joined_by_gps": _joined_by_gps(posed, number),
    }


def frame_facts(posed: PosedRecordings) -> list[Facts]:
    """Of each frame, where its axes point and where on the earth it begins, if GPS says so."""
    frames: list[Facts] = []
    for number, where in enumerate(posed.on_earth):
        if where is None:
            frames.append({"frame": number, "x": "ahead at the start", "origin": None})
            continue
        names = "latitude_deg", "longitude_deg", "altitude_m"
        origin = dict(zip(names, where.origin.tolist(), strict=True))
        frames.append({"frame": number, "x": "east", "origin": origin})
    return frames


def antennas(posed: PosedRecordings, number: int) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Places (G, 3) of a session's fixes in its frame [m], and which agree with the poses (G,)."""
    fixes, where = posed.priors[number].fixes, posed.on_earth[int(posed.group[number])]
    if fixes is None or where is None:
        return np.zeros((0, 3)), np.zeros(0, bool)
    positions = positions_of({0: fixes}, where.origin)
    residuals = loosened(positions, where.spread).residuals(_poses(posed, number))
    return positions.position, np.linalg.norm(residuals, axis=1) <= _DISAGREES


def fixes_between(posed: PosedRecordings, number: int, from_s: float, to_s: float) -> int:
    """How many fixes of a session agree with its poses in a time [s]."""
    fixes, (_, agree) = posed.priors[number].fixes, antennas(posed, number)
    if fixes is None or len(agree) == 0:
        return 0
    return int((agree & (fixes.stamps >= from_s) & (fixes.stamps <= to_s)).sum())


def _poses(posed: PosedRecordings, number: int) -> FloatArray:
    first, last = posed.starts[number : number + 2].tolist()
    T: FloatArray = posed.T_map_base[first:last]
    return T


def _gps(posed: PosedRecordings, number: int) -> Facts | None:
    fixes, where = posed.priors[number].fixes, posed.on_earth[int(posed.group[number])]
    if fixes is None:
        return None
    if where is None:
        return {"used": 0, "left_out": fixes.left_out + len(fixes)}
    place, agree = antennas(posed, number)
    antenna = poses.transform(_poses(posed, number)[fixes.image], fixes.lever)
    apart = np.linalg.norm((antenna - place)[:, :2], axis=1)
    lies = where.placed[number]
    return {
        "used": len(fixes),
        "left_out": fixes.left_out,
        "disagreeing": int((~agree).sum()),
        "residual_m": _spread(apart),
        "times_worse_than_said": where.spread,
        "antenna_mounted": fixes.mounted,
        "odometry_scale": float(np.exp(where.log_scale[number])),
        "placed_to_m": lies.sigma_m,
        "placed_to_deg": float(np.degrees(lies.sigma_rad)),
    }


def _imu(posed: PosedRecordings, number: int) -> Facts | None:
    gravity = posed.priors[number].gravity
    if gravity is None:
        return None
    verticals = gravity.verticals
    up = _poses(posed, number)[verticals.pose, 2, :3]
    cosine = np.clip((up * verticals.up).sum(axis=1), -1.0, 1.0)
    return {
        "source": gravity.source,
        "key_frames": len(verticals),
        "tilt_residual_deg": _spread(np.degrees(np.arccos(cosine))),
    }


def _spread(values: FloatArray) -> Facts:
    return {"median": float(np.median(values)), "p95": float(np.percentile(values, 95.0))}


def _joined_by_gps(posed: PosedRecordings, number: int) -> list[Facts]:
    """Sessions in the same frame that no images join with this one, and how surely they lie there.

    One standard deviation of how this one lies to the other; errors that all fixes of a drive share
    are not in it.
    """
    where = posed.on_earth[int(posed.group[number])]
    if where is None:
        return []
    own = where.placed[number]
    return [
        {
            "with": posed.sessions[other].name,
            "sigma_m": float(np.hypot(own.sigma_m, lies.sigma_m)),
            "sigma_deg": float(np.degrees(np.hypot(own.sigma_rad, lies.sigma_rad))),
        }
        for other, lies in where.placed.items()
        if lies is not own
    ]


def prior_lines(one: Facts) -> list[str]:
    """The text of what `prior_facts` holds."""
    lines, gps, imu = [], one["gps"], one["imu"]
    if gps is not None and gps["used"] == 0:
        lines.append(f"  GPS: not used; {gps['left_out']} fixes")
    elif gps is not None:
        off, worse = gps["residual_m"], gps["times_worse_than_said"]
        lines.append(
            f"  GPS: {gps['used']} fixes used, {gps['disagreeing']} of them disagree, "
            f"{gps['left_out']} left out; off by {off['median']:.2f} m (median), "
            f"{off['p95']:.2f} m (95 %); a metre of odometry is {gps['odometry_scale']:.4f} m"
        )
        if worse > _MUCH_WORSE:
            lines.append(f"  GPS: fixes are {worse:.1f} times worse than their covariances say")
    if imu is not None:
        off = imu["tilt_residual_deg"]
        lines.append(
            f"  IMU: up by its {imu['source']} at {imu['key_frames']} key frames, off by "
            f"{off['median']:.2f} deg (median), {off['p95']:.2f} deg (95 %)"
        )
    lines += [
        f"  joined with {other['with']} by GPS alone, to {other['sigma_m']:.2f} m and "
        f"{other['sigma_deg']:.2f} deg (one standard deviation)"
        for other in one["joined_by_gps"]
    ]
    return lines


_MUCH_WORSE = 2.0


def frame_lines(frames: list[Facts]) -> list[str]:
    """The text of what `frame_facts` holds."""
    lines = []
    for one in frames:
        if one["origin"] is not None:
            latitude, longitude, altitude = one["origin"].values()
            which = "the map" if len(frames) == 1 else f"frame {one['frame']}"
            lines.append(
                f"x of {which} is east, y north; its origin is at {latitude:.7f}, {longitude:.7f}, "
                f"{altitude:.1f} m (WGS 84)"
            )
    return lines
