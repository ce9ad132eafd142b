"""What lens and shutter make of the light: motion blur, drops on the lens, veiling glare."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import Camera
from fgsn_ros.simulation.seasons import Conditions

Light = NDArray[np.float32]
_STEPS = 7
"""Moments of an exposure that are averaged."""
_FAR_M = 1000.0
_DROP_SHARE = (0.012, 0.05)
"""Radius of drops as shares of the image's width."""


def motion_blur(
    light: Light,
    rays: NDArray[np.float32],
    depth: NDArray[np.float32],
    camera: Camera,
    T_start_end: NDArray[np.float64],
) -> Light:
    """Average the image over an exposure in which the camera moves.

    Args:
        light: (H, W, 3) linear, as it is in the middle of the exposure.
        rays: (H * W, 3) of the pixels, z = 1, camera frame.
        depth: (H * W,) along the optical axis [m], inf for sky.
        camera: Calibration.
        T_start_end: (4, 4) the camera at the exposure's end in that of its start.
    """
    points = rays * np.minimum(depth, _FAR_M)[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        moved, seen = camera.project(poses.transform(poses.invert(T_start_end), points))
    height, width = light.shape[:2]
    v, u = np.mgrid[:height, :width].astype(np.float32)
    flow = np.zeros((height * width, 2), np.float32)
    start = np.stack([u, v], axis=-1).reshape(-1, 2)
    flow[seen] = (moved[seen] - start[seen]).astype(np.float32)
    flow = np.clip(flow, -0.1 * width, 0.1 * width).reshape(height, width, 2)
    total = np.zeros_like(light)
    for moment in np.linspace(-0.5, 0.5, _STEPS):
        at = flow * np.float32(moment)
        total += cv2.remap(
            light, u + at[..., 0], v + at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
    return np.asarray(total / np.float32(_STEPS), dtype=np.float32)


def veiled(light: Light, rays: NDArray[np.float32], c: Conditions) -> Light:
    """Light that the lens scatters: about the sun where it is ahead, about lamps at night.

    Args:
        light: (H, W, 3) linear.
        rays: (H * W, 3) of the pixels in the map frame.
        c: Conditions of the drive.
    """
    result = light
    if c.sun[0] > 0.0:
        length = np.linalg.norm(rays, axis=1)
        cosine = (rays @ np.array(c.sun_direction, np.float32)) / length
        scattered = 0.35 * c.veil * np.exp((cosine - 1.0) / 0.12)
        result = result + scattered.reshape(*light.shape[:2], 1) * np.array(c.sun, np.float32)
    if c.lamps > 0.0:
        small = cv2.resize(np.minimum(light, 6.0), None, fx=0.125, fy=0.125,
                           interpolation=cv2.INTER_AREA)  # fmt: skip
        glow = cv2.GaussianBlur(np.maximum(small - 0.25, 0.0), (0, 0), 8.0)
        size = (light.shape[1], light.shape[0])
        result = result + np.float32(0.8 * c.veil) * cv2.resize(glow, size)
    return np.asarray(result, dtype=np.float32)


def through_drops(light: Light, count: int, rng: np.random.Generator) -> Light:
    """Drops on the lens: each shows the scene small, upside down and blurred.

    Args:
        light: (H, W, 3) linear.
        count: Number of drops.
        rng: Of where they are.
    """
    height, width = light.shape[:2]
    blurred = cv2.GaussianBlur(light, (0, 0), 0.006 * width)
    result = light.copy()
    for _ in range(count):
        u, v = rng.uniform(0.0, width), rng.uniform(0.0, height)
        radius = width * math.exp(rng.uniform(*np.log(_DROP_SHARE)))
        top, bottom = max(0, int(v - radius)), min(height, int(v + radius) + 1)
        left, right = max(0, int(u - radius)), min(width, int(u + radius) + 1)
        y, x = np.mgrid[top:bottom, left:right].astype(np.float32)
        dx, dy = x - np.float32(u), y - np.float32(v)
        spread = np.float32(0.3 * width / radius)
        seen = cv2.remap(
            blurred, np.float32(u) - spread * dx, np.float32(v) - spread * dy, cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REFLECT,
        )  # fmt: skip
        inside = np.clip(1.5 * (1.0 - np.hypot(dx, dy) / np.float32(radius)), 0.0, 0.85)[..., None]
        patch = result[top:bottom, left:right]
        result[top:bottom, left:right] = patch + inside * (seen - patch)
    return np.asarray(result, dtype=np.float32)
