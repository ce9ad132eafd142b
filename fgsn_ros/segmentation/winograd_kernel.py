"""Transforms of Winograd's minimal filtering F(4x4, 3x3), tile by tile.

Lavin and Gray, "Fast algorithms for convolutional neural networks", CVPR 2016, section 4.3. A tile
has every `dilation`-th pixel; tiles go by tile row, row phase, tile column and column phase.
"""

import numba
import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Six = tuple[np.float32, np.float32, np.float32, np.float32, np.float32, np.float32]
Four = tuple[np.float32, np.float32, np.float32, np.float32]

TILE, PATCH = 4, 6
"""Outputs and inputs of a tile along each axis."""
_2, _4, _5, _8 = (np.float32(value) for value in (2, 4, 5, 8))  # as literals they are float64


@numba.njit(inline="always", fastmath=True, error_model="numpy", cache=True)
def _of_input(
    d0: np.float32, d1: np.float32, d2: np.float32, d3: np.float32, d4: np.float32, d5: np.float32
) -> Six:
    """Six inputs along an axis to six factors."""
    even, odd = d4 - _4 * d2, d3 - _4 * d1
    outer, inner = d4 - d2, _2 * (d3 - d1)
    first, last = _4 * d0 - _5 * d2 + d4, _4 * d1 - _5 * d3 + d5
    return first, even + odd, even - odd, outer + inner, outer - inner, last


@numba.njit(inline="always", fastmath=True, error_model="numpy", cache=True)
def _of_output(
    m0: np.float32, m1: np.float32, m2: np.float32, m3: np.float32, m4: np.float32, m5: np.float32
) -> Four:
    """Six products along an axis to four outputs."""
    near, slope, far, steep = m1 + m2, m1 - m2, m3 + m4, m3 - m4
    return m0 + near + far, slope + _2 * steep, near + _4 * far, slope + _8 * steep + m5


@numba.njit(fastmath=True, error_model="numpy", nogil=True, cache=True)
def transform_input(padded: Float32, factors: Float32, dilation: int) -> None:
    """Padded image (H, W, C) to factors (36, tiles, C)."""
    columns = padded.shape[1] // dilation // TILE * dilation
    channels = padded.shape[2]
    half = np.empty((PATCH, PATCH, channels), np.float32)
    for line in range(factors.shape[1] // columns):
        top = TILE * (line // dilation) * dilation + line % dilation
        for column in range(columns):
            x0 = TILE * (column // dilation) * dilation + column % dilation
            x1, x2, x3 = x0 + dilation, x0 + 2 * dilation, x0 + 3 * dilation
            x4, x5 = x0 + 4 * dilation, x0 + 5 * dilation
            for i in range(PATCH):
                row, to = padded[top + i * dilation], half[i]
                for c in range(channels):
                    a0, a1, a2, a3, a4, a5 = _of_input(
                        row[x0, c], row[x1, c], row[x2, c], row[x3, c], row[x4, c], row[x5, c]
                    )
                    to[0, c], to[1, c], to[2, c] = a0, a1, a2
                    to[3, c], to[4, c], to[5, c] = a3, a4, a5
            tile = line * columns + column
            for j in range(PATCH):
                for c in range(channels):
                    b0, b1, b2, b3, b4, b5 = _of_input(
                        half[0, j, c], half[1, j, c], half[2, j, c],
                        half[3, j, c], half[4, j, c], half[5, j, c],
                    )  # fmt: skip
                    factors[j, tile, c], factors[6 + j, tile, c] = b0, b1
                    factors[12 + j, tile, c], factors[18 + j, tile, c] = b2, b3
                    factors[24 + j, tile, c], factors[30 + j, tile, c] = b4, b5


@numba.njit(fastmath=True, error_model="numpy", nogil=True, cache=True)
def transform_output(products: Float32, bias: Float32, result: Float32, dilation: int) -> None:
    """Products (36, tiles, O) plus bias (O,) to an image (H, W, O); what lies beyond it is cut."""
    height, width, channels = result.shape
    columns = -(-width // (TILE * dilation)) * dilation
    half = np.empty((TILE, PATCH, channels), np.float32)
    whole = np.empty((TILE, channels), np.float32)
    for line in range(products.shape[1] // columns):
        top = TILE * (line // dilation) * dilation + line % dilation
        for column in range(columns):
            tile = line * columns + column
            for j in range(PATCH):
                for c in range(channels):
                    a0, a1, a2, a3 = _of_output(
                        products[j, tile, c], products[6 + j, tile, c], products[12 + j, tile, c],
                        products[18 + j, tile, c], products[24 + j, tile, c],
                        products[30 + j, tile, c],
                    )  # fmt: skip
                    half[0, j, c], half[1, j, c], half[2, j, c], half[3, j, c] = a0, a1, a2, a3
            left = TILE * (column // dilation) * dilation + column % dilation
            for i in range(TILE):
                y, of = top + i * dilation, half[i]
                if y >= height:
                    break
                for c in range(channels):
                    b0, b1, b2, b3 = _of_output(
                        of[0, c], of[1, c], of[2, c], of[3, c], of[4, c], of[5, c]
                    )
                    whole[0, c], whole[1, c], whole[2, c], whole[3, c] = b0, b1, b2, b3
                for k in range(TILE):
                    x = left + k * dilation
                    if x < width:
                        for c in range(channels):
                            result[y, x, c] = whole[k, c] + bias[c]
