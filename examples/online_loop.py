"""Localize a robot as it drives: python examples/online_loop.py RECORDING MAP NETWORK.

The recording stands for your robot: give the loop the odometry and images of yours as they come.
"""

import sys
from pathlib import Path

import fgsn_ros


def main(recording: Path, map_folder: Path, network: Path) -> None:
    """Feed odometry and labels to the filter, and print where it is."""
    robot = fgsn_ros.open_recording(recording)
    segmenter = fgsn_ros.Segmenter(fgsn_ros.load_checkpoint(network))
    localizer = fgsn_ros.OnlineLocalizer(
        fgsn_ros.load_map(map_folder), segmenter.checkpoint.log_ratio, robot.cameras
    )
    first = max(robot.odometry.stamps[0], robot.ground_truth.stamps[0])
    T_map_base = robot.ground_truth.at(first)  # a rough pose is enough: here from ground truth
    localizer.initialize(fgsn_ros.InitialPose.around(T_map_base, 1.0, 0.07, float(first)))

    odometry = zip(robot.odometry.stamps, robot.odometry.poses, strict=True)
    for frame in robot.frames():
        label_map = segmenter.segment(frame.image)
        # Labels wait for the odometry of their time, so that either may come first.
        estimates = localizer.add_labels(frame.stamp, frame.camera, label_map)
        for stamp, T_odom_base in odometry:
            estimates += localizer.add_odometry(float(stamp), T_odom_base)
            if stamp >= frame.stamp:
                break
        for estimate in estimates:
            x, y = estimate.T_map_base[:2, 3]
            print(f"{estimate.stamp:.2f} s: x {x:.2f} m, y {y:.2f} m")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
