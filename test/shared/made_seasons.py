"""Folders laid out as Extended CMU Seasons and RobotCar Seasons, made of the corridor."""

import cv2
import numpy as np
from corridor import Corridor

from fgsn_ros.geometry import poses
from fgsn_ros.recordings.robotcar_seasons import WORLD

SECONDS = 1_303_398_475  # of the first image since 1970
C0_YAW, C1_YAW = np.radians(15.0), np.radians(-20.0)


def numbers(values):
    return " ".join(f"{value:.9f}" for value in values)


def pose_line(name, T_camera_world, position):
    _, (x, y, z, w) = poses.to_quaternion(T_camera_world)
    return f"{name} {numbers((w, x, y, z, *position))}\n"


def write_image(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 98])


def cmu_camera_poses(recording):
    """Name, and T_map_camera (N, 4, 4), of two cameras that are turned to the sides."""
    mounted = recording.cameras["camera"].T_base_camera
    for number, T_map_base in enumerate(recording.ground_truth.poses):
        for camera, yaw, late_us in (("c0", C0_YAW, 0), ("c1", C1_YAW, 46)):
            turn = poses.from_xyz_rpy([0.0, 0.0, 0.0], [0.0, 0.0, yaw])
            time_us = SECONDS * 1_000_000 + number * 133_000 + late_us
            name = f"img_{number:05d}_{camera}_{time_us}us.jpg"
            yield name, T_map_base @ turn @ mounted


def write_cmu_slice(root, number=22, frames=16):
    """sliceX of a drive through the corridor; every fifth frame is a query, the others database."""
    recording, folder = Corridor(frames), root / f"slice{number}"
    mount = recording.cameras["camera"]
    c = mount.camera
    folder.mkdir(parents=True)
    line = f"OPENCV {c.width} {c.height} {c.fx} {c.fy} {c.cx + 0.5} {c.cy + 0.5} 0 0 0 0\n"
    (root / "intrinsics.txt").write_text(f"# camera, model, ...\nc0 {line}c1 {line}")
    lists = {"database": "", "query": ""}
    names = []
    for index, (name, T_map_camera) in enumerate(cmu_camera_poses(recording)):
        kind = "query" if index // 2 % 5 == 2 else "database"
        image = recording.render(T_map_camera @ poses.invert(mount.T_base_camera))[0]
        write_image(folder / kind / name, image)
        lists[kind] += pose_line(name, poses.invert(T_map_camera), T_map_camera[:3, 3])
        names += [name] if kind == "query" else []
    (folder / f"ground-truth-database-images-slice{number}.txt").write_text(lists["database"])
    (folder / f"test-images-slice{number}.txt").write_text("\n".join(names) + "\n")
    (folder / "camera-poses").mkdir()
    (folder / "camera-poses" / f"slice-{number}-camera0-0.txt").write_text(lists["query"])
    (folder / "camera-poses" / f"slice-{number}-camera1-0.txt").write_text("")
    return folder


RIG = {  # yaw and place of RobotCar's cameras on a car whose axes are x ahead, y right, z down
    "rear": (np.pi, [-1.0, 0.0, 0.0]),
    "left": (-np.pi / 2, [0.0, -0.5, 0.1]),
    "right": (np.pi / 2, [0.0, 0.5, 0.1]),
}
OPTICAL_IN_CAR = np.array([[0.0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]])


def car_cameras():
    """T_car_camera (4, 4) by name."""
    return {
        name: poses.from_xyz_rpy(place, [0.0, 0.0, yaw]) @ OPTICAL_IN_CAR
        for name, (yaw, place) in RIG.items()
    }


def robotcar_poses(count=6):
    """T_world_car (N, 4, 4) of a car that drives on a bend, in a world whose z points down."""
    s = np.arange(count, dtype=float)
    T_map_car = poses.from_planar(s, 0.05 * s**2, 0.1 * s)
    return WORLD @ T_map_car @ WORLD


def write_robotcar(root, count=6):
    """The reference drive, and a night's and a winter's images, all grey."""
    for folder in ("images", "intrinsics", "extrinsics", "3D-models/all-merged"):
        (root / folder).mkdir(parents=True)
    for name, T in car_cameras().items():
        lines = "fx 400.0\nfy 400.0\ncx 508.2\ncy 498.2\n"
        (root / "intrinsics" / f"{name}_intrinsics.txt").write_text(lines)
        rows = "\n".join(",".join(f"{v:.9f}" for v in row) for row in T)
        (root / "extrinsics" / f"{name}_extrinsics.txt").write_text(rows + "\n")
    model, training = [], ""
    for number, T_world_car in enumerate(robotcar_poses(count)):
        for name, T_car_camera in car_cameras().items():
            T_world_camera = T_world_car @ T_car_camera
            file = f"{name}/{1_417_176_458_999_821 + number * 500_000}"
            _, (x, y, z, w) = poses.to_quaternion(poses.invert(T_world_camera))
            place = numbers((w, x, y, z, *T_world_camera[:3, 3]))
            model.append(f"./overcast-reference/{file}.png\t400 {place} 0 0\n")
            write_image(
                root / "images" / f"overcast-reference/{file}.jpg",
                np.full((1024, 1024, 3), 90, np.uint8),
            )
    for condition, start in (
        ("night", 1_418_235_223_450_115),
        ("overcast-winter", 1_447_410_000_000_000),
    ):
        for name, T_car_camera in car_cameras().items():
            file = f"{condition}/{name}/{start}"
            image = np.full((1024, 1024, 3), 20, np.uint8)
            write_image(root / "images" / f"{file}.jpg", image)
            T = robotcar_poses(count)[1] @ T_car_camera
            training += f"{file}.png {numbers(T.ravel())}\n"
    text = f"NVM_V3 \n\n{len(model)}\n{''.join(model)}\n1\n0.0 1.0 2.0 90 90 90 2 0 0 1.0 2.0\n"
    (root / "3D-models/all-merged/all.nvm").write_text(text)
    (root / "robotcar_v2_train.txt").write_text(training)
    return root
