"""COLMAP models of the corridor, made exactly, and written in both forms."""

import struct
from dataclasses import dataclass, field

import cv2
import numpy as np
from corridor import SURFACES, Corridor

from fgsn_ros.geometry import poses
from fgsn_ros.geometry.similarity import Similarity

MODEL_NUMBERS = {"PINHOLE": 1, "OPENCV": 4, "FOV": 7}


@dataclass
class MadeModel:
    """What the files of a model hold."""

    cameras: dict
    """number to MODEL, width, height, parameters"""
    images: list
    """dicts of number, T_camera_world, camera, name, pixels (K, 2), ids (K,)"""
    points: dict
    """id to position"""
    rigs: list = field(default_factory=list)
    """lists of camera number and T_camera_rig; the first is the reference"""

    def track(self, point):
        """Numbers of images and of keypoints that show a point."""
        return [
            (image["number"], int(k))
            for image in self.images
            for k in np.flatnonzero(image["ids"] == point)
        ]

    def moved(self, similarity):
        """The model in the frame that a similarity takes it to."""
        images = []
        for image in self.images:
            T = similarity.poses(poses.invert(image["T_camera_world"])[None])[0]
            images.append(image | {"T_camera_world": poses.invert(T)})
        points = {i: similarity.points(p[None])[0] for i, p in self.points.items()}
        return MadeModel(self.cameras, images, points, self.rigs)


def surface_of(points):
    """Number of the corridor's surface that each point (N, 3) lies on."""
    apart = [np.abs((points - p) @ np.array(n)) for p, n, _ in SURFACES.values()]
    return np.argmin(apart, axis=0)


def corridor_points():
    """Points on the corridor's surfaces."""
    x, h = np.arange(3.0, 29.0, 1.25), np.arange(0.5, 4.0, 0.75)
    walls = [[a, side, b] for a in x for b in h for side in (5.0, -4.0)]
    road = [[a, b, 0.0] for a in x for b in np.arange(-3.0, 4.5, 1.0)]
    end = [[30.0, a, b] for a in np.arange(-3.0, 4.5, 1.0) for b in h]
    return np.array(walls + road + end)


def corridor_model(frames=12, step_m=0.6, camera_each=False):
    """The model of a drive through the corridor, in the corridor's frame, and the drive."""
    recording = Corridor(frames=frames, step_m=step_m)
    mount = recording.cameras["camera"]
    camera, points = mount.camera, corridor_points()
    values = ["PINHOLE", 320, 200, camera.fx, camera.fy, camera.cx + 0.5, camera.cy + 0.5]
    images = []
    for i, T_map_base in enumerate(recording.ground_truth.poses):
        T_camera_world = poses.invert(T_map_base @ mount.T_base_camera)
        seen = poses.transform(T_camera_world, points)
        pixels, valid = camera.project(seen)
        depth = recording.render(T_map_base)[1]
        column, row = np.where(valid[:, None], np.rint(pixels), 0).astype(int).T
        valid &= np.abs(depth[np.clip(row, 0, 199), np.clip(column, 0, 319)] - seen[:, 2]) < 0.5
        ids = 100 + np.flatnonzero(valid)
        keypoints = np.vstack([[[3.0, 4.0]], pixels[valid] + 0.5])  # the first shows no point
        images.append(
            {
                "number": i + 5,
                "T_camera_world": T_camera_world,
                "camera": 7 + i * camera_each,
                "name": f"{i:03d}.png",
                "pixels": keypoints,
                "ids": np.concatenate([[-1], ids]),
            }
        )
    cameras = {number: values for number in {image["camera"] for image in images}}
    shown = np.unique(np.concatenate([image["ids"] for image in images]))
    return MadeModel(
        cameras, images, {i: points[i - 100] for i in shown.tolist() if i >= 0}
    ), recording


def pose_words(T):
    """qw qx qy qz tx ty tz."""
    t, (x, y, z, w) = poses.to_quaternion(T)
    return [w, x, y, z, *t]


def text_files(model):
    """The content of a text model's files."""
    cameras = [" ".join(map(str, (n, *values))) for n, values in model.cameras.items()]
    images, points, rigs = [], [], []
    for image in model.images:
        pose = " ".join(repr(float(v)) for v in pose_words(image["T_camera_world"]))
        images.append(f"{image['number']} {pose} {image['camera']} {image['name']}")
        shown = zip(image["pixels"].tolist(), image["ids"].tolist(), strict=True)
        images.append(" ".join(f"{u!r} {v!r} {i}" for (u, v), i in shown))
    for number, position in model.points.items():
        track = " ".join(f"{i} {k}" for i, k in model.track(number))
        place = " ".join(repr(float(v)) for v in position)
        points.append(f"{number} {place} 9 8 7 0.25 {track}")
    for number, sensors in enumerate(model.rigs, 1):
        words = [number, len(sensors), "CAMERA", sensors[0][0]]
        for camera, T in sensors[1:]:
            words += ["CAMERA", camera, 1, *pose_words(T)]
        rigs.append(" ".join(map(str, words)))
    files = {"cameras": cameras, "images": images, "points3D": points}
    if rigs:
        files["rigs"] = rigs
    return {f"{n}.txt": "\n".join(["# a comment", *v, ""]).encode() for n, v in files.items()}


def binary_files(model):
    """The content of a binary model's files."""
    cameras = struct.pack("<Q", len(model.cameras))
    for number, (name, width, height, *values) in model.cameras.items():
        cameras += struct.pack("<IiQQ", number, MODEL_NUMBERS[name], width, height)
        cameras += struct.pack(f"<{len(values)}d", *values)
    images = struct.pack("<Q", len(model.images))
    for image in model.images:
        images += struct.pack("<I", image["number"])
        images += struct.pack("<7dI", *pose_words(image["T_camera_world"]), image["camera"])
        images += image["name"].encode() + b"\0" + struct.pack("<Q", len(image["ids"]))
        for (u, v), number in zip(image["pixels"], image["ids"].tolist(), strict=True):
            images += struct.pack("<ddq", u, v, number)
    points = struct.pack("<Q", len(model.points))
    for number, position in model.points.items():
        track = model.track(number)
        points += struct.pack("<Q3d3BdQ", number, *position, 9, 8, 7, 0.25, len(track))
        points += struct.pack(f"<{2 * len(track)}I", *np.ravel(track))
    files = {"cameras.bin": cameras, "images.bin": images, "points3D.bin": points}
    if model.rigs:
        rigs = struct.pack("<Q", len(model.rigs))
        for number, sensors in enumerate(model.rigs, 1):
            rigs += struct.pack("<IIiI", number, len(sensors), 0, sensors[0][0])
            for camera, T in sensors[1:]:
                rigs += struct.pack("<iIB7d", 0, camera, 1, *pose_words(T))
        files["rigs.bin"] = rigs
    return files


def write(folder, files):
    """Write a model's files into a folder; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def write_images(folder, model, recording):
    """Write the images of a corridor's model into a folder; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    for image, T in zip(model.images, recording.ground_truth.poses, strict=True):
        cv2.imwrite(str(folder / image["name"]), recording.render(T)[0][..., ::-1])
    return folder


def some_similarity():
    """A similarity that changes everything."""
    R = poses.from_xyz_rpy(np.zeros(3), [2.0, -0.5, 1.0])[:3, :3]
    return Similarity(0.25, R, np.array([5.0, -3.0, 2.0]))


def inverse(similarity):
    """The other way."""
    scale, R = 1.0 / similarity.scale, similarity.R.T
    return Similarity(scale, R, -scale * R @ similarity.t)
