"""The renderer: ray casting of a town with its cars, and shading, in all threads."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import open3d as o3d
from numpy.typing import NDArray

from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import Camera
from fgsn_ros.simulation import sensor, shading
from fgsn_ros.simulation.cars import placed
from fgsn_ros.simulation.materials import SurfaceTable
from fgsn_ros.simulation.meshes import Mesh
from fgsn_ros.simulation.seasons import Conditions
from fgsn_ros.simulation.shading import Hits, Tables
from fgsn_ros.simulation.textures import surface_rows

Array = NDArray[np.float64]
_LAMPS = 12  # street lamps that light a frame
_SEEN_M = 150.0  # cars farther off are not drawn


@dataclass(frozen=True)
class RenderedFrame:
    """An image and what is known of each of its pixels."""

    image: NDArray[np.uint8]  # (H, W, 3) RGB
    classes: NDArray[np.uint8]  # (H, W) ids of CLASS_NAMES
    depth: NDArray[np.float32]  # (H, W) along the optical axis [m], inf for sky
    surfaces: NDArray[np.int32]  # (H, W) ids of surfaces, -1 for sky; moving cars from `moving` on


@dataclass(frozen=True)
class Scene:
    """Everything that is drawn: standing geometry and the shapes of the moving cars."""

    standing: Mesh
    movers: Sequence[Mesh]  # each in its own frame
    table: SurfaceTable
    lamps: Array  # (L, 3) m


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
        self._standing = _raycasting(scene.standing, self._threads)
        merged = Mesh.joined([scene.standing, *scene.movers])
        counts = [len(scene.standing.triangles)] + [len(m.triangles) for m in scene.movers]
        self._starts = np.cumsum(counts)[:-1]  # first triangle of each mover in the tables
        rows, keys = surface_rows(scene.table)
        self._uv, self._normals, self._surfaces = merged.uv, merged.normals, merged.surfaces
        self._rows, self._keys = rows, keys
        v, u = np.mgrid[: camera.height, : camera.width]
        rays, _ = camera.unproject(np.stack([u, v], axis=-1).astype(float))
        self._rays = rays.reshape(-1, 3)

    def render(
        self,
        T_map_base: Array,
        T_map_camera: Array,
        movers: Sequence[Array | None],
        noise_seed: int,
    ) -> RenderedFrame:
        """Draw a frame.

        Args:
            T_map_base: Vehicle (4, 4), which carries the headlights.
            T_map_camera: Camera (4, 4).
            movers: T_map_car (4, 4) of each moving car, None where it is absent.
            noise_seed: Seed of the sensor's noise.
        """
        near = _nearest(self._lamps, T_map_camera)
        tables = Tables(
            self._uv, self._normals, self._surfaces, self._rows, self._keys, near, T_map_base
        )
        hits = self._cast(T_map_camera, movers, tables)
        count = len(self._rays)
        linear = np.empty((count, 3), dtype=np.float32)
        classes = np.empty(count, dtype=np.uint8)
        pixel = 1.0 / self.camera.fx

        def band(first: int, last: int) -> None:
            shading.shade(first, last, pixel, hits, tables, self.conditions, linear, classes)

        self._in_bands(band)
        shape = (self.camera.height, self.camera.width)
        image = sensor.expose(linear.reshape(*shape, 3), self.conditions, noise_seed)
        sky = ~np.isfinite(hits.depth)
        surfaces = np.where(sky, -1, self._surfaces[hits.triangle]).astype(np.int32)
        return RenderedFrame(
            image, classes.reshape(shape), hits.depth.reshape(shape), surfaces.reshape(shape)
        )

    def _cast(self, T_map_camera: Array, movers: Sequence[Array | None], tables: Tables) -> Hits:
        count = len(self._rays)
        rays = np.empty((count, 6), dtype=np.float32)
        rays[:, :3] = T_map_camera[:3, 3]
        rays[:, 3:] = self._rays @ T_map_camera[:3, :3].T
        tensor = o3d.core.Tensor.from_numpy(rays)
        found = self._standing.cast_rays(tensor, nthreads=self._threads)
        depth = found["t_hit"].numpy()
        triangle = found["primitive_ids"].numpy().astype(np.int64)
        inside = found["primitive_uvs"].numpy()
        moving = self._moving_scene(movers, T_map_camera[:3, 3])
        if moving is not None:
            scene, ids = moving
            found = scene.cast_rays(tensor, nthreads=self._threads)
            nearer = np.flatnonzero(found["t_hit"].numpy() < depth)
            depth[nearer] = found["t_hit"].numpy()[nearer]
            triangle[nearer] = ids[found["primitive_ids"].numpy()[nearer]]
            inside[nearer] = found["primitive_uvs"].numpy()[nearer]
        triangle[~np.isfinite(depth)] = 0
        blocked = np.zeros(count, dtype=np.uint8)
        hits = Hits(T_map_camera[:3, 3].copy(), rays[:, 3:], depth, triangle, inside, blocked)
        if self.conditions.sun[0] > 0.0 or self.conditions.wetness > 0.0:
            self._block(hits, tables, moving[0] if moving else None)
        return hits

    def _block(
        self, hits: Hits, tables: Tables, moving: "o3d.t.geometry.RaycastingScene | None"
    ) -> None:
        """Find which second rays (to the sun, or mirrored) are blocked."""
        rays = np.empty((len(hits.depth), 6), dtype=np.float32)
        wanted = np.empty(len(rays), dtype=np.bool_)

        def band(first: int, last: int) -> None:
            shading.second_rays(first, last, hits, tables, self.conditions, rays, wanted)

        self._in_bands(band)
        chosen = np.flatnonzero(wanted)
        tensor = o3d.core.Tensor.from_numpy(rays[chosen])
        blocked = self._standing.test_occlusions(tensor, nthreads=self._threads).numpy()
        if moving is not None:
            blocked = blocked | moving.test_occlusions(tensor, nthreads=self._threads).numpy()
        hits.blocked[chosen] = blocked

    def _moving_scene(
        self, movers: Sequence[Array | None], eye: Array
    ) -> "tuple[o3d.t.geometry.RaycastingScene, NDArray[np.int64]] | None":
        """Ray-casting scene of the cars near the eye and its triangles' ids in the tables."""
        meshes, ids = [], []
        for start, mesh, T in zip(self._starts, self._movers, movers, strict=True):
            if T is None or np.linalg.norm(T[:3, 3] - eye) > _SEEN_M:
                continue
            moved = placed(mesh, T)
            index = start + np.arange(len(mesh.triangles))
            self._normals[index] = moved.normals
            meshes.append(moved)
            ids.append(index)
        if not meshes:
            return None
        return _raycasting(Mesh.joined(meshes), self._threads), np.concatenate(ids)

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


def _raycasting(mesh: Mesh, threads: int) -> "o3d.t.geometry.RaycastingScene":
    scene = o3d.t.geometry.RaycastingScene(nthreads=threads)
    scene.add_triangles(
        o3d.core.Tensor.from_numpy(mesh.vertices), o3d.core.Tensor.from_numpy(mesh.triangles)
    )
    return scene


def _nearest(lamps: Array, T_map_camera: Array) -> Array:
    """The lamps that light what the camera sees best."""
    if not len(lamps):
        return np.zeros((0, 3))
    ahead = poses.transform(T_map_camera, np.array([0.0, 0.0, 16.0]))
    order = np.argsort(np.linalg.norm(lamps - ahead, axis=1), kind="stable")
    return np.ascontiguousarray(lamps[order[:_LAMPS]])
