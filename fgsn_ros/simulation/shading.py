"""Hits of rays and their shading, compiled: albedo, sun, sky, lamps, weather; rays from hits."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.simulation import materials as mat
from fgsn_ros.simulation import textures as tex
from fgsn_ros.simulation.change import aged_albedo, drifted
from fgsn_ros.simulation.noise import Row, inlined, kernel, mix
from fgsn_ros.simulation.seasons import (
    Conditions,
    Triple,
    headlight,
    lamp_light,
    litter_colour,
    puddle,
    sky_colour,
    snow_share,
)
from fgsn_ros.simulation.textures import GLASS_MARK, Texel


class Tables(NamedTuple):
    """The scene as the kernel reads it."""

    uv: NDArray[np.float32]  # (T, 3, 2) surface coordinates of the triangles' corners [m]
    normals: NDArray[np.float32]  # (T, 3) shading normals
    surfaces: NDArray[np.int32]  # (T,) surface ids
    rows: NDArray[np.float32]  # (S, 16) parameters of the surfaces
    keys: NDArray[np.int64]  # (S, 3) material, seed, class of the surfaces
    lamps: NDArray[np.float64]  # (L, 3) lamps near the camera [m]
    vehicle: NDArray[np.float64]  # (4, 4) T_map_base


class Hits(NamedTuple):
    """Ray hits of one image, flattened to P pixels."""

    origin: NDArray[np.float64]  # (3,) camera centre [m]
    rays: NDArray[np.float32]  # (P, 3) directions in the map frame, 1 m deep along the optical axis
    depth: NDArray[np.float32]  # (P,) depth along the optical axis [m], inf for sky
    triangle: NDArray[np.int64]  # (P,)
    inside: NDArray[np.float32]  # (P, 2) barycentric coordinates
    blocked: NDArray[np.uint8]  # (P,) 1: no sun here; on wet ground: its mirror image is no sky


@kernel
def primary_rays(
    first: int, last: int, directions: NDArray[np.float32], T_map_camera: NDArray[np.float64],
    rays: NDArray[np.float32],
) -> None:  # fmt: skip
    """Rays (P, 6) in the map frame of a camera's pixels first..last, directions (P, 3)."""
    for i in range(first, last):
        for row in range(3):
            rays[i, row] = T_map_camera[row, 3]
            total = 0.0
            for column in range(3):
                total += T_map_camera[row, column] * directions[i, column]
            rays[i, 3 + row] = total


@kernel
def second_rays(
    first: int,
    last: int,
    hits: Hits,
    tables: Tables,
    c: Conditions,
    rays: NDArray[np.float32],
    wanted: NDArray[np.bool_],
) -> None:
    """Rays (P, 6) from the hits to the sun, or mirrored at wet ground; wanted (P,) marks them."""
    sun = c.sun[0] > 0.0
    for i in range(first, last):
        wanted[i] = False
        depth = float(hits.depth[i])
        if not depth < 300.0:
            continue
        triangle = hits.triangle[i]
        material = tables.keys[tables.surfaces[triangle], 0]
        dx, dy, dz = float(hits.rays[i, 0]), float(hits.rays[i, 1]), float(hits.rays[i, 2])
        nx, ny, nz = (
            tables.normals[triangle, 0],
            tables.normals[triangle, 1],
            tables.normals[triangle, 2],
        )
        leafy = material == mat.LEAF or material == mat.NEEDLE
        if dx * nx + dy * ny + dz * nz > 0.0 and not leafy:
            nx, ny, nz = -nx, -ny, -nz
        if sun:
            sx, sy, sz = c.sun_direction
            wanted[i] = nx * sx + ny * sy + nz * sz > (-0.4 if leafy else 0.0)
        else:
            wanted[i] = material == mat.ASPHALT or material == mat.SLABS
            turn = 2.0 * (dx * nx + dy * ny + dz * nz)
            sx, sy, sz = dx - turn * nx, dy - turn * ny, dz - turn * nz
        off, ahead = (0.0, 0.22) if leafy else (0.02, 0.01)
        rays[i, 0] = hits.origin[0] + depth * dx + off * nx + ahead * sx
        rays[i, 1] = hits.origin[1] + depth * dy + off * ny + ahead * sy
        rays[i, 2] = hits.origin[2] + depth * dz + off * nz + ahead * sz
        rays[i, 3], rays[i, 4], rays[i, 5] = sx, sy, sz


@inlined
def texel(
    material: int, seed: int, u: float, v: float, row: Row, along: float, across: float,
    c: Conditions,
) -> Texel:  # fmt: skip
    """Albedo, class, gloss and emission of a surface at (u, v)."""
    fine = math.sqrt(along * across)
    if material == mat.ASPHALT:
        return tex.asphalt(u, v, seed, row, along, across)
    if material == mat.SLABS or material == mat.KERBSTONE:
        return tex.slabs(u, v, seed, row, fine)
    if material == mat.GRASS:
        return tex.grass(u, v, seed, row, fine, c.green)
    if material == mat.FACADE:
        return tex.facade(u, v, seed, row, fine, c.lit_windows, c.seed, c.aged)
    if material == mat.TILES:
        return tex.tiles(u, v, seed, row, fine)
    if material == mat.PANEL:
        return tex.panel(u, v, seed, row, fine)
    if material == mat.BOARDS:
        return tex.boards(u, v, seed, row, fine)
    if material == mat.TWIGS:
        return tex.twigs(u, v, seed, row, fine)
    if material == mat.BARK:
        return tex.bark(u, v, seed, row, fine)
    if material == mat.LEAF or material == mat.NEEDLE:
        return tex.leaf(u, v, seed, row, c.autumn, material)
    if material == mat.TYRE:
        return tex.tyre(u, v, row)
    red, green, blue = float(row[0]), float(row[1]), float(row[2])
    on = 1.0 if c.headlights > 0.0 else 0.0
    if material == mat.PAINT:
        return red, green, blue, -1, 0.6, 0.0
    if material == mat.GLASS:
        return red, green, blue, -1, GLASS_MARK + 1.0, 0.0
    if material == mat.HEADLIGHT:
        return red, green, blue, -1, 0.5, 5.0 * on
    if material == mat.TAILLIGHT:
        return red, green, blue, -1, 0.5, 1.2 * on
    if material == mat.LAMP:
        return red, green, blue, -1, 0.1, 4.0 if c.lamps > 0.0 else 0.0
    return tex.plain(u, v, seed, row, fine)


@inlined
def _covered_ground(
    material: int, style: int, u: float, v: float, x: float, y: float, up: float, fine: float,
    red: float, green: float, blue: float, c: Conditions,
) -> Triple:  # fmt: skip
    """Albedo under the season's leaves and snow."""
    flat = material == mat.ASPHALT or material == mat.SLABS or material == mat.GRASS
    if c.litter > 0.0 and flat:
        r, g, b, share = litter_colour(material, v, x, y, fine, c)
        red, green, blue = mix(red, r, share), mix(green, g, share), mix(blue, b, share)
    if c.snow > 0.0:
        share = snow_share(material, style, u, v, x, y, up, fine, c)
        tone = 0.86 + 0.05 * math.sin(3.1 * x + 1.7 * y)
        if material == mat.ASPHALT:  # grey slush over dark, wet asphalt
            slush = 0.10 + 0.5 * share * share
            red, green, blue = 0.6 * red + slush, 0.6 * green + slush, 0.62 * blue + slush
            tone *= 0.72 + 0.2 * share
        red, green, blue = (
            mix(red, tone, share),
            mix(green, tone, share),
            mix(blue, 1.04 * tone, share),
        )
    return red, green, blue


@inlined
def _weathered(
    material: int, kind: int, own_kind: int, u: float, v: float, x: float, y: float, up: float,
    seed: int, row: Row, fine: float, albedo: Triple, c: Conditions,
) -> Triple:  # fmt: skip
    """Albedo of a surface under what time and the season have put on it."""
    red, green, blue = albedo
    if c.aged > 0.0:
        red, green, blue = aged_albedo(
            material, kind, own_kind, u, v, seed, row, fine, (red, green, blue), c
        )
    if c.litter > 0.0 or c.snow > 0.0:
        red, green, blue = _covered_ground(
            material, int(row[mat.STYLE]), u, v, x, y, up, fine, red, green, blue, c
        )
    if c.drift > 0.0:
        share = drifted(material, u, v, up, seed, fine, c)
        red, green, blue = mix(red, 0.8, share), mix(green, 0.8, share), mix(blue, 0.83, share)
    return red, green, blue


@inlined
def _light(
    x: float, y: float, z: float, n: Triple, blocked: int, material: int, tables: Tables,
    c: Conditions,
) -> Triple:  # fmt: skip
    """Light that falls on a point with the normal n."""
    up = 0.5 + 0.5 * n[2]
    red = c.sky[0] * up + c.bounce[0] * (1.0 - up)
    green = c.sky[1] * up + c.bounce[1] * (1.0 - up)
    blue = c.sky[2] * up + c.bounce[2] * (1.0 - up)
    # An overcast sky is brighter on one side, which keeps façades apart
    side = 1.0 + 0.18 * (n[0] * c.sun_direction[0] + n[1] * c.sun_direction[1])
    red, green, blue = red * side, green * side, blue * side
    if c.sun[0] > 0.0:
        facing = n[0] * c.sun_direction[0] + n[1] * c.sun_direction[1] + n[2] * c.sun_direction[2]
        if material == mat.LEAF or material == mat.NEEDLE:
            facing = 0.7 * facing + 0.3  # light shines through leaves
        if facing > 0.0:
            lit = facing * (1.0 - blocked)
            red, green, blue = red + lit * c.sun[0], green + lit * c.sun[1], blue + lit * c.sun[2]
    if c.lamps > 0.0:
        lamp = lamp_light(x, y, z, n, tables.lamps, c)
        beam = headlight(x, y, z, n, tables.vehicle, c)
        if material == mat.PANEL:  # signs throw headlights back
            beam *= 5.0
        red, green, blue = (
            red + lamp + beam,
            green + 0.70 * lamp + 0.94 * beam,
            blue + 0.40 * lamp + 0.82 * beam,
        )
    return red, green, blue


@inlined
def _mirror(
    d: Triple,
    n: Triple,
    share: float,
    blocked: bool,
    c: Conditions,
    red: float,
    green: float,
    blue: float,
) -> Triple:
    """Blend in what a smooth surface mirrors, by Schlick's approximation."""
    cosine = -(d[0] * n[0] + d[1] * n[1] + d[2] * n[2])
    fresnel = share * (0.04 + 0.96 * (1.0 - max(0.0, cosine)) ** 5)
    rx, ry, rz = d[0] + 2 * cosine * n[0], d[1] + 2 * cosine * n[1], d[2] + 2 * cosine * n[2]
    if blocked or rz < 0.02:
        r, g, b = 0.22 * c.sky[0], 0.22 * c.sky[1], 0.22 * c.sky[2]
    else:
        r, g, b = sky_colour(rx, ry, rz, c)
    return mix(red, r, fresnel), mix(green, g, fresnel), mix(blue, b, fresnel)


@inlined
def _shade_hit(
    i: int, d: Triple, distance: float, pixel: float, hits: Hits, tables: Tables, c: Conditions
) -> tuple[float, float, float, int]:
    triangle = hits.triangle[i]
    a, b = hits.inside[i, 0], hits.inside[i, 1]
    corners = tables.uv[triangle]
    u = (1.0 - a - b) * corners[0, 0] + a * corners[1, 0] + b * corners[2, 0]
    v = (1.0 - a - b) * corners[0, 1] + a * corners[1, 1] + b * corners[2, 1]
    surface = tables.surfaces[triangle]
    material, seed = tables.keys[surface, 0], tables.keys[surface, 1]
    row = tables.rows[surface]
    nx, ny, nz = (
        tables.normals[triangle, 0],
        tables.normals[triangle, 1],
        tables.normals[triangle, 2],
    )
    cosine = -(d[0] * nx + d[1] * ny + d[2] * nz)
    if cosine < 0.0 and material != mat.LEAF and material != mat.NEEDLE:
        nx, ny, nz, cosine = -nx, -ny, -nz, -cosine
    n = (float(nx), float(ny), float(nz))
    across = distance * pixel
    along = across / max(0.05, abs(cosine))
    x = hits.origin[0] + d[0] * distance
    y = hits.origin[1] + d[1] * distance
    z = hits.origin[2] + d[2] * distance
    red, green, blue, kind, gloss, emission = texel(material, seed, u, v, row, along, across, c)
    fine = math.sqrt(along * across)
    red, green, blue = _weathered(
        material, kind, tables.keys[surface, 2], u, v, x, y, n[2], seed, row, fine,
        (red, green, blue), c
    )  # fmt: skip
    water = 0.0
    flat = material == mat.ASPHALT or material == mat.SLABS or material == mat.KERBSTONE
    if c.wetness > 0.0 and material != mat.GRASS and material < mat.TWIGS:
        water = puddle(x, y, fine, c) if flat else 0.0
        dark = 0.52 - 0.18 * water if flat else 0.80
        red, green, blue = dark * red, dark * green, dark * blue
    light = _light(x, y, z, n, hits.blocked[i], material, tables, c)
    red, green, blue = red * light[0], green * light[1], blue * light[2]
    if gloss >= GLASS_MARK:
        red, green, blue = _mirror(d, n, (gloss - GLASS_MARK) * 0.8, False, c, red, green, blue)
    elif material == mat.PAINT and c.snow == 0.0:
        red, green, blue = _mirror(d, n, 0.7, False, c, red, green, blue)
    elif flat and c.wetness > 0.0:
        share = 0.35 + 0.55 * water
        red, green, blue = _mirror(d, n, share, hits.blocked[i] > 0, c, red, green, blue)
    if emission > 0.0:
        warm = (1.0, 0.1, 0.06) if material == mat.TAILLIGHT else (1.0, 0.74, 0.42)
        red, green, blue = (
            red + emission * warm[0],
            green + emission * warm[1],
            blue + emission * warm[2],
        )
    if kind < 0:
        kind = tables.keys[surface, 2]
    return red, green, blue, kind


@kernel
def shade(
    first: int, last: int, pixel: float, hits: Hits, tables: Tables, c: Conditions,
    linear: NDArray[np.float32], classes: NDArray[np.uint8],
) -> None:  # fmt: skip
    """Shade pixels first..last into linear (P, 3) and classes (P,).

    Args:
        first: First pixel.
        last: One past the last pixel.
        pixel: Size of a pixel at 1 m [rad].
        hits: Where the rays ended.
        tables: The scene.
        c: Season and weather.
        linear: Filled with linear colour.
        classes: Filled with semantic class ids.
    """
    for i in range(first, last):
        dx, dy, dz = float(hits.rays[i, 0]), float(hits.rays[i, 1]), float(hits.rays[i, 2])
        length = math.sqrt(dx * dx + dy * dy + dz * dz)
        d = (dx / length, dy / length, dz / length)
        depth = float(hits.depth[i])
        if not depth < 1e6:
            red, green, blue = sky_colour(d[0], d[1], d[2], c)
            kind = mat.SKY
        else:
            distance = depth * length
            red, green, blue, kind = _shade_hit(i, d, distance, pixel, hits, tables, c)
            haze = 1.0 - math.exp(-distance / c.haze_m)
            red, green, blue = (
                mix(red, c.horizon[0], haze),
                mix(green, c.horizon[1], haze),
                mix(blue, c.horizon[2], haze),
            )
        linear[i, 0], linear[i, 1], linear[i, 2] = red, green, blue
        classes[i] = kind
