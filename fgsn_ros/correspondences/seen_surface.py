"""The depth that a frame sees, sketched by the points that it tracks."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import Delaunay, QhullError, cKDTree

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SeenSurface:
    """Pixels with a depth, spanned by triangles."""

    pixels: FloatArray
    """(N, 2) u, v [px]."""
    depths: FloatArray
    """(N,) along the optical axis, > 0 [m]."""

    def holds(
        self, pixels: FloatArray, depths: FloatArray, reach: float, tolerance: float
    ) -> NDArray[np.bool_]:
        """Which pixels (M, 2) with depths (M,) lie on the surface.

        A pixel lies on it where a triangle covers it whose corners are all within `reach` times the
        median distance between neighbours, and where its depth is the triangle's but for a share
        `tolerance`. The inverse depth of a plane is an affine function of the pixel. At the border
        of something nearer, a triangle spans both depths and agrees with neither: what may be
        hidden is left out.
        """
        triangulation = self._triangulation
        if triangulation is None or len(pixels) == 0:
            return np.zeros(len(pixels), bool)
        triangle = triangulation.find_simplex(pixels)
        corners = triangulation.simplices[triangle]
        transform = triangulation.transform[triangle]
        shares = np.einsum("nij,nj->ni", transform[:, :2], pixels - transform[:, 2])
        shares = np.hstack([shares, 1.0 - shares.sum(axis=1, keepdims=True)])
        inverse_depth = (shares / self.depths[corners]).sum(axis=1)
        farthest = np.linalg.norm(self.pixels[corners] - pixels[:, None], axis=2).max(axis=1)
        # Of a flat triangle the shares are NaN, and agree with nothing.
        agreeing = np.abs(depths * inverse_depth - 1.0) <= tolerance
        return np.asarray(agreeing & (triangle >= 0) & (farthest <= reach * self._spacing_px))

    @cached_property
    def _spacing_px(self) -> float:
        return float(np.median(cKDTree(self.pixels).query(self.pixels, k=2)[0][:, 1]))

    @cached_property
    def _triangulation(self) -> Delaunay | None:
        """None where the pixels span no triangle."""
        try:
            return Delaunay(self.pixels)
        except (QhullError, ValueError):
            return None
