"""What became of poses of images alone: files, numbers, a text and a picture."""

import json
from pathlib import Path

from fgsn_ros.geometry.cameras import T_BASE_OPTICAL
from fgsn_ros.geometry.trajectory import write_tum
from fgsn_ros.mapping.sfm.image_poses import PosedImages, unplaced
from fgsn_ros.mapping.sfm.report import PICTURE_DPI, Facts
from fgsn_ros.recordings.camera_files import write_camera

NO_SCALE = "scale unknown: no odometry, GPS or poses"
DOUBTFUL_SPREAD = 0.05
"""Difference of the focal lengths that several guesses led to, as a share, that tells of doubt."""


def write_image_poses(folder: Path, posed: PosedImages, picture: bool) -> Facts:
    """Write a TUM file, a COLMAP model, the calibration, report.json and poses.png.

    Args:
        folder: Is there already; it is for the caller to make it appear whole.
        posed: The images.
        picture: Draw poses.png, which needs matplotlib.

    Returns:
        What report.json holds.

    Raises:
        OSError: a file cannot be written.
    """
    write_tum(folder / f"{posed.name.replace('/', '_')}.tum", posed.trajectory)
    model = folder / "colmap"
    model.mkdir()
    posed.model.reconstruction.write_text(model)
    write_camera(folder / "camera.yaml", posed.model.camera, T_BASE_OPTICAL)
    facts = image_facts(posed)
    (folder / "report.json").write_text(json.dumps(facts, indent=2, allow_nan=False) + "\n")
    if picture:
        _draw(folder / "poses.png", posed)
    return facts


def image_facts(posed: PosedImages) -> Facts:
    """The report's numbers, ready for JSON."""
    model, camera = posed.model, posed.model.camera
    return {
        "made": "poses of raw recordings",
        "sessions": [
            {
                "name": posed.name,
                "frames": posed.sequence.frame_count,
                "frames_moved": len(posed.sequence),
                "frames_placed": len(posed.trajectory),
                "not_placed_s": unplaced(posed).tolist(),
                "points": model.points,
                "observations": model.observations,
                "reprojection_error_px": model.error_px if model.points else None,
                "scale": NO_SCALE,
                "up": "a guess: level from the camera's roll and path",
                "calibration": {
                    "estimated": posed.estimated,
                    "focal_px": camera.fx,
                    "radial": list(camera.distortion)[:1],
                    "focal_by_guess_px": [list(pair) for pair in posed.focal_by_guess.items()],
                },
            }
        ],
    }


def image_text(facts: Facts) -> str:
    """The report for a terminal."""
    one = facts["sessions"][0]
    lines = [
        f"{one['name']}: {one['frames_placed']} of {one['frames']} images placed; {one['points']} "
        f"points, {one['reprojection_error_px'] or 0.0:.2f} px",
        f"  {one['scale']}; a unit is the median step between images",
        f"  the up axis is {one['up']}",
    ]
    still, lost = one["frames"] - one["frames_moved"], len(one["not_placed_s"])
    if still:
        lines.append(f"  {still} images left out that did not move against the one before")
    if lost:
        first, last = one["not_placed_s"][0], one["not_placed_s"][-1]
        lines.append(f"  {lost} images from {first:.2f} to {last:.2f} s share too little: no pose")
    calibration = one["calibration"]
    if calibration["estimated"]:
        lines += _calibration_lines(calibration)
    return "\n".join(lines)


def _calibration_lines(calibration: Facts) -> list[str]:
    focal = calibration["focal_px"]
    lines = [
        f"  calibration estimated (camera.yaml): focal length {focal:.0f} px, radial distortion "
        f"{calibration['radial'][0]:+.3f}"
    ]
    pairs = calibration["focal_by_guess_px"]
    ends = [end for _, end in pairs]
    if max(ends) - min(ends) > DOUBTFUL_SPREAD * focal:
        listed = ", ".join(f"{start:.0f} to {end:.0f}" for start, end in pairs)
        lines.append(
            f"  the focal length depends on the first guess ({listed} px): drive curves, or "
            "calibrate the camera"
        )
    return lines


def _draw(path: Path, posed: PosedImages) -> None:
    """The path from above."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 6.5), layout="constrained")
    axes = figure.add_subplot()
    position = posed.trajectory.poses[:, :3, 3]
    axes.plot(position[:, 0], position[:, 1], ".-", lw=1.2, label=posed.name)
    axes.set_aspect("equal", adjustable="datalim")
    axes.set(xlabel="x [median steps, no metres]", ylabel="y [median steps, no metres]")
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=PICTURE_DPI)
