"""Alignment of two frames from a train's cab, one in summer and one in winter.

The winter frame was taken some metres further along the track by another camera: only the far
distance lies at a constant shift. With e the epipole (the track's direction) and rho = (way between
the cameras) / (depth), a summer pixel p is seen in winter at

    q = e + s + R(roll) (p - e) / (1 - rho)

A pair has one `Geometry` (e, shift s, roll, and the track bed, a plane whose rho grows linearly
below the horizon), found by the similarity of edges; each pixel has its own rho, found along its
epipolar line by semi-global matching. Edges are compared by unsigned direction and relative
strength, which keep from summer to dusk in winter where colours and brightness do not.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

Array = NDArray[np.float64]
Maps = NDArray[np.float32]
Mask = NDArray[np.bool_]

SIZE = (480, 270)
"""Width and height of the images in which pairs are aligned [px]; all pixels here are theirs."""

_CELL_PX = 6  # a point at most in each square of this side: 8 px in an image 640 px wide
_DIRECTIONS = 6
_WINDOW = 3.0  # standard deviation of the windows that are compared [px]
_COARSE_WINDOW = 2.0
_RHO: Array = np.linspace(-0.01, 0.45, 57)
_COARSE_RHO: Array = np.arange(0.0, 0.27, 0.018)
_BED_LEFT, _BED_RIGHT, _BED_FROM = -1.7, 0.75, 12.0  # its sides, in columns a row, and first row
_BAND = 0.015  # of rho about the track bed's
_STEP, _JUMP = 0.03, 0.3  # what a step of rho between neighbours costs, and any larger one
_DISTINCT = 5  # steps of rho from which a second match is another one
_LEAST_SCORE, _LEAST_MARGIN, _LEAST_STRENGTH = 0.6, 0.03, 40.0
_SPECKLE_PX, _ALIKE = 50, 2  # matches join where rho is within steps; fewer pixels are dropped
_CLOSED_PX = 1.5  # summer -> winter -> summer ends as near to the start
_CORRECTED, _PREFERENCE = 2, 0.01  # largest correction [px], and what a pixel of it must gain
_LOGO = (421, 13, 456, 30)  # left, top, right, bottom: the broadcaster's, in the same place always
_NEAR_LOGO = (413, 5, 464, 38)  # where windows see it
_NEAREST = 0.3  # rho off the track bed; what seems nearer is mistaken
_PRIOR: Array = np.array([226.0, 120.0, -4.0, -3.6, 0.012, 123.6, 0.0023])
_SPREAD: Array = np.array([24.0, 12.0, 5.0, 3.0, 0.006, 2.0, 0.0002])
_FIRST_STEP: Array = np.array([12.0, 12.0, 2.0, 2.0, 0.005, 2.0, 0.0002])
_PRIOR_WEIGHT = 2e-3
_HALF: Array = np.array([0.5, 0.5, 0.5, 0.5, 1.0, 0.5, 2.0])  # to images half as large, in which
_CENTRE: Array = np.array([-0.25, -0.25, 0.0, 0.0, 0.0, -0.25, 0.0])  # the geometry is found


@dataclass(frozen=True)
class Geometry:
    """How winter's camera stands to summer's."""

    epipole: Array  # (2,) pixel of summer's image that the camera moves to
    shift: Array  # (2,) from summer's to winter's pixel of the same far point [px]
    roll: float  # [rad], clockwise
    horizon: float  # row of the track bed's horizon in summer's image [px]
    slope: float  # rho that the track bed gains with each row below the horizon [1/px]

    def to_winter(self, points: Array, rho: Array) -> Array:
        """Winter's pixels (..., 2) of summer's pixels (..., 2) with rho (...)."""
        turned = (points - self.epipole) @ self._turn().T
        return np.asarray(turned / (1.0 - rho)[..., None] + self.epipole + self.shift)

    def to_summer(self, points: Array, rho: Array) -> Array:
        """Summer's pixels (..., 2) of winter's pixels (..., 2) with rho (...)."""
        nearer = (points - self.epipole - self.shift) * (1.0 - rho)[..., None]
        return np.asarray(nearer @ self._turn() + self.epipole)

    def plane(self, at_top: float, row: float = 0.0) -> Array:
        """Homography (3, 3), summer to winter, of the plane with rho = at_top + row * v."""
        turn = self._turn()
        remaining = np.array([0.0, -row, 1.0 - at_top])  # 1 - rho
        turned = np.column_stack([turn, -turn @ self.epipole])
        return np.vstack([turned + np.outer(self.epipole + self.shift, remaining), remaining])

    def bed_rho(self, size: tuple[int, int]) -> Array:
        """Rho (H, W) of the track bed in summer's image, width and height `size`; NaN beside it."""
        below = np.arange(size[1], dtype=np.float64)[:, None] - self.horizon
        aside = np.arange(size[0])[None] - self.epipole[0]
        on = (aside > _BED_LEFT * below) & (aside < _BED_RIGHT * below)
        on &= below > _BED_FROM * size[0] / SIZE[0]
        return np.where(on, self.slope * below, np.nan)

    def _turn(self) -> Array:
        cosine, sine = np.cos(self.roll), np.sin(self.roll)
        return np.array([[cosine, -sine], [sine, cosine]])


@dataclass(frozen=True)
class Alignment:
    """What two frames show in common, at distinct structure."""

    geometry: Geometry
    summer: Array  # (N, 2) pixels (u, v) of images of SIZE
    winter: Array  # (N, 2)
    closing_px: Array  # (N,) from the start after summer -> winter -> summer
    corrected_px: Array  # (N,) length of the last correction, which is free of the geometry


def align(summer: NDArray[np.uint8], winter: NDArray[np.uint8]) -> Alignment:
    """Align two grey frames (H, W) of one size.

    Points lie on structure, one at most in each square of _CELL_PX, where the match is the same
    from both sides, similar, and (but for the track bed, whose rho is known) more similar than any
    other: one post of a fence is like the next.
    """
    images = _prepared(summer), _prepared(winter)
    edges = edge_maps(images[0]), edge_maps(images[1])
    geometry = fit_geometry(*images)
    similar, seen_back = _similarities(*edges, geometry)
    best, back = _best(similar, edges[0]), _best(seen_back, edges[1])
    grid = np.stack(np.meshgrid(*(np.arange(n, dtype=np.float64) for n in SIZE)), axis=-1)
    there = geometry.to_winter(grid, _RHO[best])
    closing = np.linalg.norm(geometry.to_summer(there, _at(_RHO[back], there)) - grid, axis=-1)
    moved, same = _corrections(*edges, there)
    good = _good(similar, best, same & (closing < _CLOSED_PX), ~np.isnan(geometry.bed_rho(SIZE)))
    strength = np.minimum(_gradient(images[0])[0], _at(_gradient(images[1])[0], there))
    usable = (strength > _LEAST_STRENGTH) & _usable(grid) & _usable(there)
    points = _strongest(np.where(usable & good, strength, 0.0))
    values = (grid, there + moved, closing, np.linalg.norm(moved, axis=-1))
    return Alignment(geometry, *(value[points] for value in values))


def edge_maps(grey: Maps) -> Maps:
    """Strength (H, W, 6) of edges in six unsigned directions, relative to the surroundings."""
    strength, angle = _gradient(grey)
    around = cv2.GaussianBlur(strength, (0, 0), 10.0)
    relative = np.minimum(strength / (around + 0.5 * np.median(strength) + 2.0), 3.0)
    direction = np.mod(angle, np.pi) * _DIRECTIONS / np.pi
    maps = []
    for number in range(_DIRECTIONS):
        apart = np.abs(direction - number)
        share = np.maximum(0.0, 1.0 - np.minimum(apart, _DIRECTIONS - apart))
        maps.append(cv2.GaussianBlur(relative * share, (0, 0), 1.0))
    return np.stack(maps, axis=-1).astype(np.float32)


def fit_geometry(summer: Maps, winter: Maps) -> Geometry:
    """The geometry under which the edges of two grey images (of SIZE) are most alike.

    The track bed counts as one plane; elsewhere each pixel has the rho that suits it best. A weak
    prior, the same for all pairs, tells the way between the cameras, which rails alone do not.
    """
    size = SIZE[0] // 2, SIZE[1] // 2
    first, second = (
        edge_maps(cv2.resize(image, size, interpolation=cv2.INTER_AREA))
        for image in (summer, winter)
    )

    def cost(steps: Array) -> float:
        values = steps * _FIRST_STEP
        unlikely = float((((values - _PRIOR) / _SPREAD) ** 2).sum())
        return _PRIOR_WEIGHT * unlikely - _alike(first, second, _geometry(values * _HALF + _CENTRE))

    start = _PRIOR / _FIRST_STEP
    simplex = start + np.vstack([np.zeros(len(start)), np.eye(len(start))])
    options = {"maxfev": 260, "xatol": 0.02, "fatol": 1e-5, "initial_simplex": simplex}
    best = minimize(cost, start, method="Nelder-Mead", options=options).x
    return _geometry(best * _FIRST_STEP)


def _geometry(values: Array) -> Geometry:
    roll, horizon, slope = values[4:].tolist()
    return Geometry(values[:2], values[2:4], roll, horizon, slope)


def _alike(first: Maps, second: Maps, geometry: Geometry) -> float:
    """Similarity of two images' edges under a geometry: of the track bed, and of the rest."""
    strength = np.minimum(first.sum(axis=-1), 2.0)
    bed = ~np.isnan(geometry.bed_rho((first.shape[1], first.shape[0])))
    warped = _warped(second, geometry.plane(-geometry.slope * geometry.horizon, geometry.slope))
    inside = cv2.erode(np.float32(warped.sum(axis=-1) > 0.0), np.ones((9, 9), np.uint8))
    seen, rest = strength * bed * inside, strength * ~bed
    planes = [geometry.plane(float(rho)) for rho in _COARSE_RHO]
    free = np.max([_cosine(first, _warped(second, p), _COARSE_WINDOW) for p in planes], axis=0)
    on_bed = _cosine(first, warped, _COARSE_WINDOW)
    return float((on_bed * seen).sum() / seen.sum() + (free * rest).sum() / rest.sum())


def _similarities(first: Maps, second: Maps, geometry: Geometry) -> tuple[Maps, Maps]:
    """Similarity (H, W, L) at each rho, for the pixels of the first and of the second image."""
    bed = geometry.bed_rho(SIZE)
    forth, back = [], []
    for rho in _RHO.tolist():
        plane = geometry.plane(rho)
        similar = _cosine(first, _warped(second, plane), _WINDOW)
        similar[np.abs(bed - rho) > _BAND] = 0.0
        forth.append(similar)
        back.append(_warped(similar[..., None], np.linalg.inv(plane))[..., 0])
    return np.stack(forth, axis=-1), np.stack(back, axis=-1)


def _best(similar: Maps, edges: Maps) -> NDArray[np.int64]:
    """Number (H, W) of each pixel's rho by semi-global matching (Hirschmueller, PAMI 2008)."""
    strength = np.minimum(cv2.GaussianBlur(edges.sum(axis=-1), (0, 0), 2.0) / 1.5, 1.0)
    costs = (1.0 - similar) * strength[..., None]  # plain areas follow edges
    across = costs.transpose(1, 0, 2)
    vertical = _path(costs) + _path(costs[::-1])[::-1]
    horizontal = _path(across) + _path(across[::-1])[::-1]
    return np.asarray((vertical + horizontal.transpose(1, 0, 2)).argmin(axis=-1))


def _good(similar: Maps, best: NDArray[np.int64], same: Mask, on_bed: Mask) -> Mask:
    """Which of the `same` matches (H, W) are similar, more than others, and no small spots."""
    score = np.take_along_axis(similar, best[..., None], axis=-1)[..., 0]
    apart = np.abs(np.arange(len(_RHO)) - best[..., None]) > _DISTINCT
    margin = score - np.where(apart, similar, -1.0).max(axis=-1)
    spots = np.where(same & (score > _LEAST_SCORE), best, -100).astype(np.int16)
    cv2.filterSpeckles(spots, -100, _SPECKLE_PX, _ALIKE)
    likely = (margin > _LEAST_MARGIN) & (best > 0) & (_RHO[best] < _NEAREST)
    return np.asarray((spots >= 0) & (likely | on_bed))


def _path(costs: Maps) -> Maps:
    """Costs of the best paths (N, M, L) along the first axis."""
    paths = np.array(costs)
    for index in range(1, len(costs)):
        before = paths[index - 1]
        least = before.min(axis=1, keepdims=True)
        reached = np.minimum(before, least + _JUMP)
        reached[:, 1:] = np.minimum(reached[:, 1:], before[:, :-1] + _STEP)
        reached[:, :-1] = np.minimum(reached[:, :-1], before[:, 1:] + _STEP)
        paths[index] += reached - least
    return paths


def _corrections(first: Maps, second: Maps, winter: Array) -> tuple[Array, Mask]:
    """What winter's pixels (H, W, 2) are off by in any direction, and where (H, W) it is little."""
    best, moved = np.full(winter.shape[:2], -np.inf, np.float32), np.zeros_like(winter)
    for offset in np.ndindex(2 * _CORRECTED + 1, 2 * _CORRECTED + 1):
        move = np.array(offset, np.float64) - _CORRECTED
        there = (winter + move).astype(np.float32)
        seen = np.dstack([cv2.remap(p, there, None, cv2.INTER_LINEAR) for p in _parts(second)])
        similar = _cosine(first, seen, _WINDOW) - _PREFERENCE * np.linalg.norm(move)
        better = similar > best
        best[better], moved[better] = similar[better], move
    return moved, (np.abs(moved) < _CORRECTED).all(axis=-1)


def _cosine(first: Maps, second: Maps, window: float) -> Maps:
    """Cosine (H, W) between Gaussian windows of maps (H, W, C)."""
    products = first * second, first * first, second * second
    both, left, right = (cv2.GaussianBlur(p.sum(axis=-1), (0, 0), window) for p in products)
    return np.asarray(both / np.sqrt(left * right + 1e-3), np.float32)


def _warped(maps: Maps, plane: Array) -> Maps:
    """Maps (H, W, C) of the second image as the first one sees them over a homography."""
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    size = maps.shape[1::-1]
    return np.dstack([cv2.warpPerspective(p, plane, size, flags=flags) for p in _parts(maps)])


def _parts(maps: Maps) -> list[Maps]:
    """Maps of three channels each: OpenCV warps no more than four."""
    return [maps[..., first : first + 3].copy() for first in range(0, maps.shape[2], 3)]


def _strongest(strength: Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of the strongest pixel in each square that has one above 0."""
    rows, columns = np.nonzero(strength > 0.0)
    order = np.argsort(-strength[rows, columns], kind="stable")
    rows, columns = rows[order], columns[order]
    squares = rows // _CELL_PX * SIZE[0] + columns // _CELL_PX
    first = np.unique(squares, return_index=True)[1]
    return rows[first], columns[first]


def _at(values: Maps | Array, pixels: Array) -> Array:
    """Values (H, W) at the pixels nearest to (H, W, 2), or at the border."""
    u, v = np.clip(np.rint(pixels), 0, np.array(SIZE) - 1).astype(int).transpose(2, 0, 1)
    return np.asarray(values[v, u])


def _usable(pixels: Array) -> Mask:
    """Which pixels (..., 2) lie in the image and off the broadcaster's logo."""
    inside = ((pixels >= 0.0) & (pixels <= np.array(SIZE) - 1.0)).all(axis=-1)
    logo = ((pixels >= _NEAR_LOGO[:2]) & (pixels <= _NEAR_LOGO[2:])).all(axis=-1)
    return np.asarray(inside & ~logo)


def _prepared(grey: NDArray[np.uint8]) -> Maps:
    """The image at SIZE, with the logo painted over."""
    image = cv2.resize(grey, SIZE, interpolation=cv2.INTER_AREA)
    logo = np.zeros_like(image)
    logo[_LOGO[1] : _LOGO[3], _LOGO[0] : _LOGO[2]] = 1
    return np.asarray(cv2.inpaint(image, logo, 3, cv2.INPAINT_TELEA), np.float32)


def _gradient(image: Maps) -> tuple[Maps, Maps]:
    """Length (Sobel's, 8 times the change a pixel) and angle [rad] of the smoothed gradient."""
    smooth = cv2.GaussianBlur(image, (0, 0), 0.8)
    du, dv = (cv2.Sobel(smooth, cv2.CV_32F, *axes, ksize=3) for axes in ((1, 0), (0, 1)))
    return np.hypot(du, dv), np.arctan2(dv, du)
