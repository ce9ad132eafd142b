"""Trees, hedges: prototypes drawn once for a town, planted many times."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.simulation import materials as mat
from fgsn_ros.simulation.materials import Surface, SurfaceTable, from_srgb
from fgsn_ros.simulation.meshes import MeshBuilder, scattered_patches, sphere, tapered

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Part:
    """Triangles of one material of a prototype, about the trunk's foot."""

    corners: Array  # (T, 3, 3) m
    uv: Array  # (T, 3, 2); on leaves (depth in the crown 0..1, random number)
    normals: Array  # (T, 3)


@dataclass(frozen=True)
class Prototype:
    """A tree: wood and foliage."""

    wood: Part
    foliage: Part
    evergreen: bool


def _part(builder: MeshBuilder) -> Part:
    return Part(
        np.concatenate(builder.corners), np.concatenate(builder.uv), np.concatenate(builder.normals)
    )


def deciduous(rng: np.random.Generator, distant: bool = False) -> Prototype:
    """A broad-leaved tree of about 8 m; a distant one has fewer, larger leaves."""
    builder = MeshBuilder()
    trunk_top = np.array([rng.normal(0, 0.15), rng.normal(0, 0.15), rng.uniform(2.2, 2.9)])
    tapered(builder, np.array([0, 0, -0.4]), trunk_top, (0.22, 0.15), 8, 0)
    tips: list[Array] = []
    _branch(builder, trunk_top, np.array([0.0, 0.0, 1.0]), 2.6, 0.13, 3, rng, tips)
    ends = np.array(tips)
    chosen = ends[rng.choice(len(ends), size=min(34, len(ends)), replace=False)]
    middle = ends.mean(axis=0)
    inner = middle + 0.55 * (chosen[:10] - middle)
    leaves = [
        _clump(point, rng.uniform(0.8, 1.3), (28, 0.5) if distant else (105, 0.23), rng, middle)
        for point in np.concatenate([chosen, inner])
    ]
    return Prototype(_part(builder), _joined(leaves), evergreen=False)


def _branch(
    builder: MeshBuilder,
    start: Array,
    direction: Array,
    length: float,
    radius: float,
    levels: int,
    rng: np.random.Generator,
    tips: list[Array],
) -> None:
    count = int(rng.integers(4, 6)) if levels == 3 else int(rng.integers(3, 5))
    turn = rng.uniform(0, 2 * np.pi)
    for i in range(count):
        angle = turn + 2 * np.pi * i / count + rng.normal(0, 0.3)
        spread = rng.uniform(0.3, 0.85)
        aside = np.array([np.cos(angle), np.sin(angle), 0.15])
        heading = direction * np.cos(spread) + aside * np.sin(spread)
        heading /= np.linalg.norm(heading)
        end = start + heading * length * rng.uniform(0.75, 1.1)
        sides = 6 if levels == 3 else 4 if levels == 2 else 3
        tapered(builder, start, end, (radius, radius * 0.55), sides, 0)
        if levels == 1:
            tips.append(end)
        else:
            _branch(builder, end, heading, length * 0.62, radius * 0.5, levels - 1, rng, tips)


def _clump(
    centre: Array,
    radius: float,
    leaves: tuple[int, float],
    rng: np.random.Generator,
    middle: Array,
) -> Part:
    """Leaf patches on and inside a ball: their number and size [m]."""
    count, size = leaves
    facing = rng.normal(0, 1, (count, 3))
    facing /= np.linalg.norm(facing, axis=1, keepdims=True)
    depth = rng.uniform(0.0, 1.0, count) ** 0.5
    centres = centre + facing * depth[:, None] * radius * np.array([1.0, 1.0, 0.75])
    outward = centres - middle
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    sizes = size * rng.uniform(0.7, 1.3, count)
    corners = scattered_patches(centres, facing, sizes, rng)
    normals = 0.5 * facing + 0.6 * outward + rng.normal(0, 0.25, (count, 3))
    return Part(corners, _leaf_uv(depth, rng), normals)


def _leaf_uv(depth: Array, rng: np.random.Generator) -> Array:
    uv = np.stack([depth, rng.uniform(0, 1, len(depth))], axis=1)
    return np.repeat(uv[:, None], 3, axis=1)


def _joined(parts: list[Part]) -> Part:
    return Part(
        np.concatenate([part.corners for part in parts]),
        np.concatenate([part.uv for part in parts]),
        np.concatenate([part.normals for part in parts]),
    )


def conifer(rng: np.random.Generator, distant: bool = False) -> Prototype:
    """A spruce of about 9 m: drooping tiers of needles around a straight trunk."""
    builder = MeshBuilder()
    height = rng.uniform(8.0, 10.5)
    tapered(builder, np.array([0, 0, -0.4]), np.array([0, 0, height]), (0.2, 0.03), 7, 0)
    count = 700 if distant else 3400
    level = rng.uniform(0.0, 1.0, count) ** 1.35  # more needles in the wide tiers
    angle = rng.uniform(0, 2 * np.pi, count)
    tier = 0.72 + 0.28 * np.mod(level * 11.0 + 0.12 * np.sin(3 * angle), 1.0)
    depth = rng.uniform(0.25, 1.0, count) ** 0.4
    radius = (1.0 - level) * rng.uniform(2.0, 2.5) * (1.55 - tier) * depth + 0.05
    z = 0.9 + level * (height - 0.9) - 0.25 * radius
    centres = np.stack([radius * np.cos(angle), radius * np.sin(angle), z], axis=1)
    facing = np.stack([np.cos(angle), np.sin(angle), np.full(count, 0.8)], axis=1)
    corners = scattered_patches(
        centres, facing, rng.uniform(0.16, 0.32, count) * (2.2 if distant else 1.0), rng
    )
    normals = facing + rng.normal(0, 0.4, (count, 3))
    return Prototype(_part(builder), Part(corners, _leaf_uv(depth, rng), normals), evergreen=True)


def plant(
    builder: MeshBuilder,
    foliage: MeshBuilder,
    table: SurfaceTable,
    tree: Prototype,
    foot: Array,
    scale: float,
    rng: np.random.Generator,
) -> None:
    """Plant a prototype at foot (3,), turned at random; its leaves go to `foliage`."""
    turn = rng.uniform(0, 2 * np.pi)
    c, s = np.cos(turn), np.sin(turn)
    R = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
    seed = int(rng.integers(1 << 30))
    brown = from_srgb(96, 82, 68) if rng.random() < 0.7 else from_srgb(168, 164, 154)
    bark = table.add(Surface(mat.BARK, seed, brown))
    green = _needle_colour(rng) if tree.evergreen else _leaf_colour(rng)
    material = mat.NEEDLE if tree.evergreen else mat.LEAF
    leaves = table.add(Surface(material, seed, green, _autumn_colour(rng)))
    for part, target, surface in ((tree.wood, builder, bark), (tree.foliage, foliage, leaves)):
        corners = scale * part.corners @ R.T + foot
        target.add(corners, part.uv, surface, part.normals @ R.T)


def _leaf_colour(rng: np.random.Generator) -> mat.Colour:
    return (
        float(rng.uniform(0.07, 0.13)),
        float(rng.uniform(0.16, 0.24)),
        float(rng.uniform(0.02, 0.045)),
    )


def _needle_colour(rng: np.random.Generator) -> mat.Colour:
    return float(rng.uniform(0.025, 0.045)), float(rng.uniform(0.075, 0.11)), 0.04


def _autumn_colour(rng: np.random.Generator) -> mat.Colour:
    choices = ((0.75, 0.48, 0.04), (0.70, 0.26, 0.03), (0.48, 0.07, 0.03), (0.42, 0.22, 0.05))
    return choices[int(rng.integers(len(choices)))]


def bush(
    foliage: MeshBuilder, table: SurfaceTable, foot: Array, radius: float, rng: np.random.Generator
) -> None:
    """Add an evergreen bush."""
    middle = foot + np.array([0.0, 0.0, 0.4 * radius])
    leaves = _clump(middle, radius, (int(420 * radius), 0.17), rng, middle)
    seed = int(rng.integers(1 << 30))
    green = _leaf_colour(rng)
    surface = table.add(Surface(mat.NEEDLE, seed, green, kind=mat.HEDGE))
    foliage.add(leaves.corners, leaves.uv, surface, leaves.normals)
    vertices, triangles = sphere(2)
    core = (vertices * [0.75, 0.75, 0.65] * radius + middle)[triangles]
    inner = table.add(Surface(mat.TWIGS, seed, green))
    foliage.add(core, core[..., [0, 2]], inner)


def hedge(
    builder: MeshBuilder,
    table: SurfaceTable,
    line: Array,
    height: float,
    rng: np.random.Generator,
) -> None:
    """Add a clipped hedge along a polyline (N, 3) of feet, half-metre steps, 0.7 m wide."""
    seed = int(rng.integers(1 << 30))
    green = tuple(0.8 * c for c in _leaf_colour(rng))
    body = table.add(Surface(mat.TWIGS, seed, (green[0], green[1], green[2])))
    leaf = table.add(Surface(mat.NEEDLE, seed, (green[0], green[1], green[2]), kind=mat.HEDGE))
    step = np.diff(line, axis=0, append=line[-1:] * 2 - line[-2:-1])
    across = np.stack([-step[:, 1], step[:, 0], np.zeros(len(line))], axis=1)
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    up = np.array([0.0, 0.0, 1.0])
    profile = [(-0.36, -0.3), (-0.36, 0.5), (-0.33, 1.0), (0.33, 1.0), (0.36, 0.5), (0.36, -0.3)]
    rails = [line + q * across + (z * height) * up for q, z in profile]
    rails = [rail + rng.normal(0, 0.035, rail.shape) for rail in rails]
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(step[:-1], axis=1))])
    around = 0.0
    for left, right in pairwise(rails):
        width = float(np.linalg.norm(right[0] - left[0]))
        uv_left = np.stack([along, np.full(len(along), around)], axis=1)
        uv_right = np.stack([along, np.full(len(along), around + width)], axis=1)
        builder.strip(left, right, uv_left, uv_right, body)
        _hedge_leaves(builder, (left, right), leaf, rng)
        around += width
    for end in (0, -1):  # close the ends
        corners = np.array([rails[0][end], rails[5][end], rails[3][end], rails[2][end]])
        builder.quad(corners, (0.7, height), body)


def _hedge_leaves(
    builder: MeshBuilder, rails: tuple[Array, Array], surface: int, rng: np.random.Generator
) -> None:
    left, right = rails
    width = float(np.linalg.norm(right[0] - left[0]))
    count = max(1, int(len(left) * 11 * width))
    index = rng.integers(0, len(left) - 1, count)
    a, b = rng.uniform(0, 1, (2, count, 1))
    low = left[index] + a * (left[index + 1] - left[index])
    high = right[index] + a * (right[index + 1] - right[index])
    normal = np.cross(left[index + 1] - left[index], left[index] - right[index])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-9
    # The profile runs around the hedge, so that this normal points inwards
    outward = normal * np.sign(np.sum(normal * (left[index] - _middle(rails)), axis=1))[:, None]
    depth = rng.uniform(0.5, 1.0, count)
    centres = low + b * (high - low) + 0.05 * outward
    corners = scattered_patches(centres, outward, rng.uniform(0.07, 0.14, count), rng)
    normals = outward + rng.normal(0, 0.4, (count, 3))
    builder.add(corners, _leaf_uv(depth, rng), surface, normals)


def _middle(rails: tuple[Array, Array]) -> Array:
    return np.asarray((rails[0].mean(axis=0) + rails[1].mean(axis=0)) / 2)
