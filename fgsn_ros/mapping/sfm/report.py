"""What became of raw recordings' poses: numbers, a text and a picture."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import Camera
from fgsn_ros.geometry.trajectory import write_tum
from fgsn_ros.mapping.sfm.colmap_model import (
    MODEL_FILES,
    ModelImages,
    corrected_camera,
    write_model,
)
from fgsn_ros.mapping.sfm.feature_graph import FEW_POINTS, going_on
from fgsn_ros.mapping.sfm.keyframes import Session
from fgsn_ros.mapping.sfm.priors_report import (
    antennas,
    fixes_between,
    frame_facts,
    frame_lines,
    prior_facts,
    prior_lines,
)
from fgsn_ros.mapping.sfm.recording_poses import PosedRecordings
from fgsn_ros.mapping.sfm.seen_motion import mounting_errors_deg
from fgsn_ros.mapping.sfm.session_poses import Solution
from fgsn_ros.outputs import Layout
from fgsn_ros.recordings.camera_files import write_camera
from fgsn_ros.recordings.recording import Recording

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_RIG_FILES = ("rigs.txt", "frames.txt")
"""What COLMAP adds to a model itself."""
POSES_FOLDER = Layout(
    "report.json",
    '"made": "poses of raw recordings"',
    ("*.tum", "poses.png", "*.yaml", *(f"colmap*/{name}" for name in (*MODEL_FILES, *_RIG_FILES))),
)
"""What `fgsn poses` writes."""

DOUBTFUL_FOCAL = 0.02
"""Correction of a focal length, as a share, that says that the calibration is wrong."""
DOUBTFUL_MOUNTING_DEG = 2.0
"""Turn of a camera, against its mounting, that says that the mounting is wrong."""
PICTURE_DPI = 110
Facts = dict[str, Any]


def write_poses(folder: Path, posed: PosedRecordings, picture: bool) -> Facts:
    """Write a TUM file a recording, a COLMAP model a frame, report.json and poses.png.

    Args:
        folder: Is there already; it is for the caller to make it appear whole.
        posed: The recordings.
        picture: Draw poses.png, which needs matplotlib.

    Returns:
        What report.json holds.

    Raises:
        OSError: a file cannot be written.
    """
    names = file_names(posed.sessions)
    for name, trajectory in zip(names, posed.trajectories, strict=True):
        write_tum(folder / f"{name}.tum", trajectory)
    for number, (images, solution) in enumerate(posed.solutions):
        model = "colmap" if len(posed.solutions) == 1 else f"colmap_{number}"
        write_model(folder / model, _model_images(posed, names, images), solution)
    facts = facts_of(posed)
    if posed.refined:
        _write_cameras(folder, posed, facts)
    (folder / "report.json").write_text(json.dumps(facts, indent=2, allow_nan=False) + "\n")
    if picture:
        draw(folder / "poses.png", posed, facts)
    return facts


def _write_cameras(folder: Path, posed: PosedRecordings, facts: Facts) -> None:
    """The refined calibration of each recording's cameras; of a single one, camera.yaml."""
    single = sum(len(session.cameras) for session in posed.sessions) == 1
    names = file_names(posed.sessions)
    for name, session, one in zip(names, posed.sessions, facts["sessions"], strict=True):
        for camera, found in one["calibration"].items():
            mount = session.cameras[camera]
            radial = float(found["radial"])
            refined = corrected_camera(mount.camera, float(np.log1p(found["focal"])), radial)
            found.update(refined_focal_px=refined.fx, refined_radial=refined.distortion[0])
            title = "camera" if single else f"{name}_{camera.strip('/').replace('/', '_')}"
            write_camera(folder / f"{title}.yaml", refined, mount.T_base_camera)


def file_names(recordings: Sequence[Session] | Sequence[Recording]) -> list[str]:
    """Name of each recording's file: its own, numbered where several have one name."""
    names: list[str] = []
    for recording in recordings:
        plain = recording.name.replace("/", "_")
        name, number = plain, 1
        while name in names:
            number += 1
            name = f"{plain}_{number}"
        names.append(name)
    return names


def _model_images(
    posed: PosedRecordings, names: list[str], images: NDArray[np.int64]
) -> ModelImages:
    session = np.repeat(np.arange(len(posed.sessions)), np.diff(posed.starts))
    chosen = [(int(session[i]), int(i - posed.starts[session[i]])) for i in images]
    frames = tuple(posed.sessions[s].frames[k] for s, k in chosen)
    mounts = [
        posed.sessions[s].cameras[frame.camera]
        for (s, _), frame in zip(chosen, frames, strict=True)
    ]
    cameras: tuple[Camera, ...] = tuple(dict.fromkeys(mount.camera for mount in mounts))
    titles = tuple(
        f"{names[s]}/{frame.camera.strip('/').replace('/', '_')}/{frame.stamp:.6f}.png"
        for (s, _), frame in zip(chosen, frames, strict=True)
    )
    number = np.array([cameras.index(mount.camera) for mount in mounts], np.int64)
    return ModelImages(titles, frames, cameras, number, np.array([m.T_base_camera for m in mounts]))


def facts_of(posed: PosedRecordings) -> Facts:
    """The report's numbers, ready for JSON."""
    solution_of = {
        int(i): (k, solution)
        for images, solution in posed.solutions
        for k, i in enumerate(images.tolist())
    }
    sessions = []
    for number, session in enumerate(posed.sessions):
        first, last = posed.starts[number : number + 2].tolist()
        offset, solution = solution_of[first]
        sessions.append(
            {
                "name": session.name,
                "frame": int(posed.group[number]),
                "frames": session.frame_count,
                "frames_placed": len(posed.trajectories[number]),
                "key_frames": len(session),
                **_fit(solution, offset, offset + len(session)),
                "odometry": _odometry_facts(session.T_odom_base, posed.T_map_base[first:last]),
                "loops": _loops(posed, number),
                "joined": _joined(posed, number),
                "weak_stretches": _weak(posed, number, solution, offset),
                **prior_facts(posed, number),
                "calibration": _calibration(solution, posed, number),
                "contradiction": posed.contradictions[number] or None,
                "mounting": _mounting(posed, number),
            }
        )
    frames = frame_facts(posed)
    return {"made": "poses of raw recordings", "frames": frames, "sessions": sessions}


def _fit(solution: Solution, first: int, last: int) -> Facts:
    """Points and reprojection error of the key frames of a session."""
    pose = solution.structure.seen.pose
    own = (pose >= first) & (pose < last)
    error = solution.error_px[own]
    return {
        "points": len(np.unique(solution.structure.seen.point[own])),
        "reprojection_error_px": float(np.median(error)) if len(error) else None,
    }


def _odometry_facts(T_odom: NDArray[np.float64], T: NDArray[np.float64]) -> Facts:
    """Odometry against the poses that were made: its length is theirs, its shape is not."""
    way, reckoned = (
        float(np.linalg.norm(np.diff(each[:, :3, 3], axis=0), axis=1).sum()) for each in (T, T_odom)
    )
    end, end_odom = (poses.compose(poses.invert(each[0]), each[-1]) for each in (T, T_odom))
    turned = poses.wrap_angle(poses.to_rpy(end_odom)[2] - poses.to_rpy(end)[2])
    return {
        "length_m": way,
        "length_ratio": reckoned / way if way > 0.0 else None,
        "heading_drift_deg": float(np.degrees(turned)),
        "end_off_m": float(np.linalg.norm(end_odom[:3, 3] - end[:3, 3])),
    }


def _session_of(posed: PosedRecordings, image: int) -> int:
    return int(np.searchsorted(posed.starts, image, side="right")) - 1


def _loops(posed: PosedRecordings, number: int) -> int:
    """Images of a session that see again what it saw before."""
    return len(
        {
            one.image
            for one in posed.placements
            if _session_of(posed, one.image) == _session_of(posed, one.among) == number
        }
    )


def _joined(posed: PosedRecordings, number: int) -> list[Facts]:
    """Other sessions that a session is joined with, and by how much."""
    found: dict[int, list[tuple[int, int]]] = {}
    for one in posed.placements:
        a, b = _session_of(posed, one.image), _session_of(posed, one.among)
        if a != b and number in (a, b):
            pair = (one.image, len(one.matches))
            found.setdefault(b if a == number else a, []).append(pair)
    return [
        {
            "with": posed.sessions[other].name,
            "images": len({image for image, _ in pairs}),
            "matches": sum(count for _, count in pairs),
        }
        for other, pairs in sorted(found.items())
    ]


def _weak(posed: PosedRecordings, number: int, solution: Solution, offset: int) -> list[Facts]:
    """Stretches that odometry and GPS, not images, have bridged."""
    session, seen = posed.sessions[number], solution.structure.seen
    own = (seen.pose >= offset) & (seen.pose < offset + len(session))
    through = going_on(seen.point[own], seen.pose[own] - offset, len(session))
    weak = np.flatnonzero(through < FEW_POINTS)
    stretches = np.split(weak, np.flatnonzero(np.diff(weak) > 1) + 1) if len(weak) else []
    ends = [
        (session.frames[gaps[0]].stamp, session.frames[gaps[-1] + 1].stamp) for gaps in stretches
    ]
    return [
        {
            "from_s": from_s,
            "to_s": to_s,
            "gps_fixes": fixes_between(posed, number, from_s, to_s),
            "length_m": float(session.path_m[gaps[-1] + 1] - session.path_m[gaps[0]]),
            "points": int(through[gaps].min()),
        }
        for gaps, (from_s, to_s) in zip(stretches, ends, strict=True)
    ]


def _calibration(solution: Solution, posed: PosedRecordings, number: int) -> Facts:
    """What the images say against each camera's calibration."""
    first = int(posed.starts[number])
    images = next(images for images, _ in posed.solutions if first in images)
    cameras = [
        posed.sessions[s].cameras[posed.sessions[s].frames[k].camera].camera
        for s, k in ((s, int(i - posed.starts[s])) for i in images for s in [_session_of(posed, i)])
    ]
    rows = dict(zip(dict.fromkeys(cameras), solution.calibration.tolist(), strict=True))
    return {
        name: {"focal": float(np.expm1(rows[mount.camera][0])), "radial": rows[mount.camera][1]}
        for name, mount in posed.sessions[number].cameras.items()
        if mount.camera in rows
    }


def _mounting(posed: PosedRecordings, number: int) -> Facts:
    """What the images say against each camera's mounting."""
    errors = mounting_errors_deg(posed.sessions[number], posed.neighbours[number])
    return {
        name: {"yaw_deg": float(yaw), "pitch_deg": float(pitch)}
        for name, (yaw, pitch) in errors.items()
    }


def text(facts: Facts) -> str:
    """The report for a terminal."""
    lines = []
    for one in facts["sessions"]:
        odometry, error = one["odometry"], one["reprojection_error_px"]
        fit = "no points" if error is None else f"{one['points']} points, {error:.2f} px"
        lines.append(
            f"{one['name']}: {one['frames_placed']} of {one['frames']} frames placed over "
            f"{odometry['length_m']:.1f} m; {one['key_frames']} key frames, {fit}; odometry off by "
            f"{odometry['heading_drift_deg']:+.1f} deg and {odometry['end_off_m']:.2f} m at the end"
        )
        if one["loops"]:
            lines.append(f"  loops: {one['loops']} key frames see again what was seen before")
        lines += [
            f"  joined with {other['with']}: {other['images']} key frames, {other['matches']} "
            "matches"
            for other in one["joined"]
        ]
        lines += prior_lines(one)
        lines += [
            f"  weak: {weak['length_m']:.1f} m from {weak['from_s']:.2f} to {weak['to_s']:.2f} s, "
            f"{weak['points']} points: by odometry"
            + f" and {weak['gps_fixes']} GPS fixes"
            * (weak["gps_fixes"] > 0)
            for weak in one["weak_stretches"]
        ]
        lines += [
            f"  calibration of {name} refined: focal length {found['refined_focal_px']:.1f} px, "
            f"radial distortion {found['refined_radial']:+.4f}"
            for name, found in one["calibration"].items()
            if "refined_focal_px" in found
        ]
        lines += [
            f"  calibration of {name}: the images say that its focal length is "
            f"{found['focal']:+.1%} off; calibrate it again"
            for name, found in one["calibration"].items()
            if abs(found["focal"]) > DOUBTFUL_FOCAL
        ]
        lines += [
            f"  mounting of {name}: the images say that it is turned by "
            f"{found['yaw_deg']:+.1f} deg (yaw) and {found['pitch_deg']:+.1f} deg (pitch) more "
            "than its transform says; measure it again"
            for name, found in one["mounting"].items()
            if max(abs(found["yaw_deg"]), abs(found["pitch_deg"])) > DOUBTFUL_MOUNTING_DEG
        ]
    lines += frame_lines(facts["frames"])
    frames: dict[int, list[str]] = {}
    for one in facts["sessions"]:
        frames.setdefault(one["frame"], []).append(one["name"])
    if len(frames) > 1:
        groups = "; ".join(", ".join(names) for names in frames.values())
        lines.append(f"not in one frame, for nothing that they share was found: {groups}")
    return "\n".join(lines)


def draw(path: Path, posed: PosedRecordings, facts: Facts) -> None:
    """The paths from above: as odometry has them, as they were made, where they were joined."""
    from matplotlib.figure import Figure

    count = len(posed.solutions)
    figure = Figure(figsize=(7.0, 6.5 * count), layout="constrained")
    for number, (images, _) in enumerate(posed.solutions):
        axes = figure.add_subplot(count, 1, number + 1)
        _draw_frame(axes, posed, facts, set(images.tolist()))
    figure.savefig(path, dpi=PICTURE_DPI)


def _draw_frame(axes: "Axes", posed: PosedRecordings, facts: Facts, images: set[int]) -> None:
    T = posed.T_map_base
    for number, session in enumerate(posed.sessions):
        first, last = posed.starts[number : number + 2].tolist()
        if first not in images:
            continue
        odom = poses.compose(poses.invert(session.T_odom_base[0]), session.T_odom_base)
        reckoned = poses.compose(T[first], odom)
        axes.plot(reckoned[:, 0, 3], reckoned[:, 1, 3], "--", lw=1.0, c=f"C{number}", alpha=0.6)
        dots = "" if posed.priors[number].fixes is None else ", dots: GPS"
        label = f"{session.name} (dashed: odometry{dots})"
        axes.plot(T[first:last, 0, 3], T[first:last, 1, 3], lw=1.8, c=f"C{number}", label=label)
        places, agree = antennas(posed, number)
        for marker, chosen in ((".", agree), ("x", ~agree)):
            xy = places[chosen, :2].T
            axes.plot(*xy, marker, ms=3.0, c=f"C{number}", alpha=0.4, zorder=1)
        stamps = np.array([frame.stamp for frame in session.frames])
        for weak in facts["sessions"][number]["weak_stretches"]:
            chosen = np.flatnonzero((stamps >= weak["from_s"]) & (stamps <= weak["to_s"])) + first
            axes.plot(T[chosen, 0, 3], T[chosen, 1, 3], lw=5.0, c="tab:red", alpha=0.5)
    for one in posed.placements:
        if one.image in images:
            ends = T[[one.image, one.among]]
            axes.plot(ends[:, 0, 3], ends[:, 1, 3], lw=0.6, c="0.6", zorder=0)
    axes.set_aspect("equal", adjustable="datalim")
    east = posed.on_earth[int(posed.group[_session_of(posed, min(images))])] is not None
    axes.set(xlabel="x, east [m]" if east else "x [m]", ylabel="y, north [m]" if east else "y [m]")
    axes.legend(fontsize="small")
