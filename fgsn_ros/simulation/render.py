"""The renderer: ray casting of a town with its cars, shading, and the camera's 8 bits."""

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import Camera
from fgsn_ros.simulation.lens import motion_blur, through_drops, veiled
from fgsn_ros.simulation.materials import SurfaceTable, surface_rows
from fgsn_ros.simulation.meshes import Mesh
from fgsn_ros.simulation.noise import hash_integers, kernel
from fgsn_ros.simulation.seasons import Conditions
from fgsn_ros.simulation.shading import Hits, Tables, primary_rays, second_rays, shade

Array = NDArray[np.float64]
Light = NDArray[np.float32]
_LAMPS = 12  # street lamps that light a frame
_SEEN_M = 150.0  # cars farther off are not drawn
_TABLE_SIZE = 4096
_TABLE_END = 3.0  # exposed linear value at the end of the tone table


@dataclass(frozen=True)
class RenderedFrame:
    """An image and what is known of each of its pixels."""

    image: NDArray[np.uint8]  # (H, W, 3) RGB
    classes: NDArray[np.uint8]  # (H, W) ids of CLASS_NAMES
    depth: NDArray[np.float32]  # (H, W) along the optical axis [m], inf for sky
    surfaces: NDArray[np.int32]  # (H, W) ids of surfaces in the scene's table, -1 for sky


@dataclass(frozen=True)
class Scene:
    """Everything that is drawn: standing geometry and the shapes of the moving cars."""

    standing: Mesh
    movers: Sequence[Mesh]  # each in its own frame
    table: SurfaceTable
    lamps: Array  # (L, 3) m


@dataclass(frozen=True)
class _Moving:
    """The moving cars of one frame."""

    scene: "_RayCaster"
    ids: NDArray[np.int64]  # the triangles' ids in the tables
    spheres: Array  # (M, 4) centre [m, map] and radius of each car


class Renderer:
    """Draws a scene under fixed conditions through one camera.

    Args:
        scene: What is drawn.
        camera: Calibration, distortion included; a ray is cast through each pixel's centre.
        conditions: Season and weather.
        threads: Threads for casting and shading; 0 takes all cores.
    """

    def __init__(
        self, scene: Scene, camera: Camera, conditions: Conditions, threads: int = 0
    ) -> None:
        self.camera = camera
        self.conditions = conditions
        self._threads = threads or os.cpu_count() or 1
        self._lamps = scene.lamps
        self._movers = scene.movers
        self._standing = _RayCaster(scene.standing, self._threads)
        merged = Mesh.joined([scene.standing, *scene.movers])
        counts = [len(scene.standing.triangles)] + [len(m.triangles) for m in scene.movers]
        self._starts = np.cumsum(counts)[:-1]  # first triangle of each mover in the tables
        rows, keys = surface_rows(scene.table)
        self._uv, self._normals, self._surfaces = merged.uv, merged.normals, merged.surfaces
        self._rows, self._keys = rows, keys
        v, u = np.mgrid[: camera.height, : camera.width]
        rays, _ = camera.unproject(np.stack([u, v], axis=-1).astype(float))
        self._rays = rays.reshape(-1, 3).astype(np.float32)

    def render(
        self,
        T_map_base: Array,
        T_map_camera: Array,
        movers: Sequence[Array | None],
        noise_seed: int,
        T_start_end: Array | None = None,
    ) -> RenderedFrame:
        """Draw a frame.

        Args:
            T_map_base: Vehicle (4, 4), which carries the headlights.
            T_map_camera: Camera (4, 4).
            movers: T_map_car (4, 4) of each moving car, None where it is absent.
            noise_seed: Seed of the sensor's noise, and of drops on the lens.
            T_start_end: Camera (4, 4) at the end of its exposure in that of the start; None: at
                rest.
        """
        near = _nearest(self._lamps, T_map_camera)
        tables = Tables(
            self._uv,
            self._normals,
            self._surfaces,
            self._rows,
            self._keys,
            near,
            np.ascontiguousarray(T_map_base),
        )
        hits = self._cast(T_map_camera, movers, tables)
        count = len(self._rays)
        linear = np.empty((count, 3), dtype=np.float32)
        classes = np.empty(count, dtype=np.uint8)
        pixel = 1.0 / self.camera.fx

        def band(first: int, last: int) -> None:
            shade(first, last, pixel, hits, tables, self.conditions, linear, classes)

        self._in_bands(band)
        shape = (self.camera.height, self.camera.width)
        light = self._through_lens(linear.reshape(*shape, 3), hits, noise_seed, T_start_end)
        image = expose(light, self.conditions, noise_seed)
        sky = ~np.isfinite(hits.depth)
        surfaces = np.where(sky, -1, self._surfaces[hits.triangle]).astype(np.int32)
        return RenderedFrame(
            image, classes.reshape(shape), hits.depth.reshape(shape), surfaces.reshape(shape)
        )

    def _through_lens(
        self, light: Light, hits: Hits, seed: int, T_start_end: Array | None
    ) -> Light:
        """Light (H, W, 3) as it comes through lens and shutter."""
        c = self.conditions
        if c.veil > 0.0:
            light = veiled(light, hits.rays, c)
        if T_start_end is not None:
            light = motion_blur(light, self._rays, hits.depth, self.camera, T_start_end)
        if c.drops > 0:
            light = through_drops(light, c.drops, np.random.default_rng([c.seed, seed]))
        return light

    def _cast(self, T_map_camera: Array, movers: Sequence[Array | None], tables: Tables) -> Hits:
        count = len(self._rays)
        rays = np.empty((count, 6), dtype=np.float32)
        pose = np.ascontiguousarray(T_map_camera)
        self._in_bands(lambda first, last: primary_rays(first, last, self._rays, pose, rays))
        depth, triangle, inside = self._standing.cast(rays)
        moving = self._moving_scene(movers, T_map_camera[:3, 3])
        if moving is not None:
            part = self._rays_near(moving.spheres, T_map_camera)
            own_depth, own_triangle, own_inside = moving.scene.cast(rays[part])
            nearer = np.flatnonzero(own_depth < depth[part])
            chosen = part[nearer]
            depth[chosen] = own_depth[nearer]
            triangle[chosen] = moving.ids[own_triangle[nearer]]
            inside[chosen] = own_inside[nearer]
        triangle[~np.isfinite(depth)] = 0
        blocked = np.zeros(count, dtype=np.uint8)
        hits = Hits(T_map_camera[:3, 3].copy(), rays[:, 3:], depth, triangle, inside, blocked)
        if self.conditions.sun[0] > 0.0 or self.conditions.wetness > 0.0:
            self._block(hits, tables, moving)
        return hits

    def _block(self, hits: Hits, tables: Tables, moving: "_Moving | None") -> None:
        """Find which second rays (to the sun, or mirrored) are blocked."""
        rays = np.empty((len(hits.depth), 6), dtype=np.float32)
        wanted = np.empty(len(rays), dtype=np.bool_)

        def band(first: int, last: int) -> None:
            second_rays(first, last, hits, tables, self.conditions, rays, wanted)

        self._in_bands(band)
        chosen = np.flatnonzero(wanted)
        blocked = self._standing.blocked(rays[chosen])
        if moving is not None:
            part = _near(moving.spheres, rays[chosen, :3])
            blocked[part] |= moving.scene.blocked(rays[chosen[part]])
        hits.blocked[chosen] = blocked

    def _moving_scene(self, movers: Sequence[Array | None], eye: Array) -> "_Moving | None":
        """The cars near the eye, ready for ray casting."""
        meshes, ids, spheres = [], [], []
        for start, mesh, T in zip(self._starts, self._movers, movers, strict=True):
            if T is None or np.linalg.norm(T[:3, 3] - eye) > _SEEN_M:
                continue
            moved = mesh.moved(T)
            index = start + np.arange(len(mesh.triangles))
            self._normals[index] = moved.normals
            meshes.append(moved)
            ids.append(index)
            spheres.append([*T[:3, 3], 3.0])
        if not meshes:
            return None
        scene = _RayCaster(Mesh.joined(meshes), self._threads)
        return _Moving(scene, np.concatenate(ids), np.array(spheres))

    def _rays_near(self, spheres: Array, T_map_camera: Array) -> NDArray[np.int64]:
        """Indices of the rays that pass within some sphere (centre, radius) before the camera."""
        chosen = np.zeros(len(self._rays), dtype=np.bool_)
        centres = poses.transform(poses.invert(T_map_camera), spheres[:, :3])
        for (x, y, z), radius in zip(centres, spheres[:, 3], strict=True):
            if z < -radius:
                continue
            if z < 2.5 * radius:
                chosen[:] = True
                break
            reach = 1.2 * radius / z  # of the sphere's silhouette at depth 1
            chosen |= (np.abs(self._rays[:, 0] - x / z) < reach) & (
                np.abs(self._rays[:, 1] - y / z) < reach
            )
        return np.flatnonzero(chosen)

    def _in_bands(self, work: Callable[[int, int], None]) -> None:
        """Run compiled work, which releases the interpreter's lock, over bands of rows."""
        rows = 12 * self.camera.width
        starts = range(0, len(self._rays), rows)
        ends = [min(start + rows, len(self._rays)) for start in starts]
        if self._threads == 1:
            work(0, len(self._rays))
            return
        with ThreadPoolExecutor(self._threads) as pool:
            list(pool.map(work, starts, ends))


class _RayCaster:
    """A mesh that rays are cast at, by Open3D, which nothing but this class needs."""

    def __init__(self, mesh: Mesh, threads: int) -> None:
        import open3d

        self._tensor = open3d.core.Tensor.from_numpy
        self._threads = threads
        self._scene = open3d.t.geometry.RaycastingScene(nthreads=threads)
        self._scene.add_triangles(self._tensor(mesh.vertices), self._tensor(mesh.triangles))

    def cast(
        self, rays: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
        """Depth (P,), inf without a hit, triangle (P,) and place in it (P, 2) of rays (P, 6)."""
        found = self._scene.cast_rays(self._tensor(rays), nthreads=self._threads)
        triangles = found["primitive_ids"].numpy().astype(np.int64)
        return found["t_hit"].numpy(), triangles, found["primitive_uvs"].numpy()

    def blocked(self, rays: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Whether each of rays (P, 6) hits something."""
        hit = self._scene.test_occlusions(self._tensor(rays), nthreads=self._threads)
        blocked: NDArray[np.bool_] = hit.numpy().copy()
        return blocked


def _nearest(lamps: Array, T_map_camera: Array) -> Array:
    """The lamps that light what the camera sees best."""
    if not len(lamps):
        return np.zeros((0, 3))
    ahead = poses.transform(T_map_camera, np.array([0.0, 0.0, 16.0]))
    order = np.argsort(np.linalg.norm(lamps - ahead, axis=1), kind="stable")
    return np.ascontiguousarray(lamps[order[:_LAMPS]])


def _near(spheres: Array, points: NDArray[np.float32]) -> NDArray[np.int64]:
    """Indices of the points close enough to some sphere to lie in its shadow or mirror it."""
    chosen = np.zeros(len(points), dtype=np.bool_)
    for x, y, _, radius in spheres:
        chosen |= (np.abs(points[:, 0] - x) < 4 * radius) & (np.abs(points[:, 1] - y) < 4 * radius)
    return np.flatnonzero(chosen)


def _tone_table() -> NDArray[np.float32]:
    x = np.linspace(0.0, _TABLE_END, _TABLE_SIZE)
    soft = x * (1.0 + 0.06 * x * x) / (1.0 + 0.75 * x)  # a shoulder instead of clipping
    return np.asarray(255.0 * np.minimum(soft * 1.15, 1.0) ** (1 / 2.2), dtype=np.float32)


_TONES = _tone_table()


@kernel
def develop(
    first: int, last: int, linear: NDArray[np.float32], gain: float, noise: float, seed: int,
    tones: NDArray[np.float32], image: NDArray[np.uint8],
) -> None:  # fmt: skip
    """Expose rows first..last of linear (H, W, 3) into image (H, W, 3) with sensor noise.

    The noise of a channel is a sum of four hash bytes: mean 0, about normal.
    """
    height, width = image.shape[0], image.shape[1]
    scale = noise * 255.0 / (2.0 * 73.9)
    step = (tones.shape[0] - 1) / 3.0
    for row in range(first, last):
        y = (row - 0.5 * height) / (0.5 * width)
        for column in range(width):
            x = (column - 0.5 * width) / (0.5 * width)
            shading = gain * (1.0 - 0.16 * (x * x + y * y))
            for channel in range(3):
                index = min(linear[row, column, channel] * shading * step, tones.shape[0] - 1.0)
                value = tones[int(index)]
                bits = hash_integers(column * 3 + channel, row, seed)
                total = (bits & 255) + ((bits >> 8) & 255) + ((bits >> 16) & 255) + (bits >> 24)
                value += scale * (total - 510.0) + 0.5
                image[row, column, channel] = int(min(255.0, max(0.0, value)))


def spread(linear: NDArray[np.float32], bloom: bool) -> NDArray[np.float32]:
    """Blur (H, W, 3) by the lens's point spread; bright lamps get a glow."""
    result = np.minimum(linear, 6.0)
    if bloom:
        small = cv2.resize(result, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
        glow = cv2.GaussianBlur(np.maximum(small - 0.35, 0.0), (0, 0), 5.0)
        size = (linear.shape[1], linear.shape[0])
        result = result + 0.45 * cv2.resize(glow, size, interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.GaussianBlur(result, (3, 3), 0.55), dtype=np.float32)


def exposure_gain(linear: NDArray[np.float32], conditions: Conditions) -> float:
    """Gain that brings the image's mean near the aimed brightness, with 75 % adaptation."""
    mean = float(np.minimum(linear[::4, ::4, 1], 3.0).mean())
    base = conditions.exposure / max(mean, 1e-4)
    usual = conditions.exposure / _USUAL_MEAN[conditions.lamps > 0.0]
    return math.exp(0.75 * math.log(base) + 0.25 * math.log(usual))


_USUAL_MEAN = {False: 0.5, True: 0.05}


def expose(linear: NDArray[np.float32], conditions: Conditions, seed: int) -> NDArray[np.uint8]:
    """The camera's image (H, W, 3) of linear light (H, W, 3); seed is the frame's noise."""
    seen = spread(linear, conditions.lamps > 0.0)
    gain = exposure_gain(linear, conditions)
    image = np.empty(linear.shape, dtype=np.uint8)
    develop(0, len(image), seen, gain, conditions.noise, seed, _TONES, image)
    return image
