"""Map a drive and localize another: python examples/map_and_localize.py MAPPED DRIVEN NETWORK MAP.

MAPPED and DRIVEN are recordings (rosbag2, ROS 1 bag, KITTI folder, ...) with poses and odometry.
MAP is the folder that gets the map.
"""

import sys
from pathlib import Path

import fgsn_ros


def main(mapped: Path, driven: Path, network: Path, map_folder: Path) -> None:
    """Build and save the map, localize, and print the errors."""
    checkpoint = fgsn_ros.load_checkpoint(network)
    semantic_map = fgsn_ros.build_map(
        fgsn_ros.open_recording(mapped), fgsn_ros.Segmenter(checkpoint)
    )
    fgsn_ros.save_map(map_folder, semantic_map)
    print(f"{map_folder}: {len(semantic_map)} points")

    drive = fgsn_ros.open_recording(driven)
    first = max(drive.odometry.stamps[0], drive.ground_truth.stamps[0])
    T_map_base = drive.ground_truth.at(first)  # a rough pose is enough: here from ground truth
    start = fgsn_ros.InitialPose.around(T_map_base, std_m=1.0, std_yaw=0.07, stamp=float(first))
    run = fgsn_ros.localize(drive, semantic_map, checkpoint, start)

    errors = fgsn_ros.evaluate(run.trajectory, drive.ground_truth)
    print(f"{errors.frames} frames, position within {errors.position_m.median:.2f} m (median)")
    print(f"heading within {errors.heading_deg.median:.2f} deg")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
