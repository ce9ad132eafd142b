"""The sky: a gradient with clouds that differ from drive to drive."""

from fgsn_ros.simulation.noise import fractal, kernel
from fgsn_ros.simulation.seasons import Conditions, Triple
from fgsn_ros.simulation.textures import mix


@kernel
def sky_colour(dx: float, dy: float, dz: float, c: Conditions) -> Triple:
    """Colour of the sky in a unit direction of the map frame."""
    height = max(dz, 0.0)
    share = 1.0 - (1.0 - min(1.0, height)) ** 3
    red = mix(c.horizon[0], c.zenith[0], share)
    green = mix(c.horizon[1], c.zenith[1], share)
    blue = mix(c.horizon[2], c.zenith[2], share)
    if dz > 0.01:
        scale = 1.0 / (dz + 0.12)
        x, y = dx * scale, dy * scale
        cloud = fractal(x, y, c.seed, 1.6, 5, 0.004 * scale) * 1.25 + c.cloud_cover * 1.7 - 0.85
        cloud = min(1.0, max(0.0, cloud * 1.8)) * min(1.0, dz * 9.0)
        shade = 1.0 + 0.45 * fractal(x, y, c.seed + 77, 0.9, 4, 0.004 * scale)
        red = mix(red, c.clouds[0] * shade, cloud)
        green = mix(green, c.clouds[1] * shade, cloud)
        blue = mix(blue, c.clouds[2] * shade, cloud)
    if c.sun[0] > 0.0:
        near = dx * c.sun_direction[0] + dy * c.sun_direction[1] + dz * c.sun_direction[2]
        if near > 0.0:
            glow = 0.35 * near**12 + (6.0 if near > 0.9994 else 0.0)
            red, green, blue = (
                red + glow * c.sun[0],
                green + glow * c.sun[1],
                blue + glow * c.sun[2],
            )
    return red, green, blue


@kernel
def smooth(low: float, high: float, x: float) -> float:
    """Smooth step from 0 at low to 1 at high."""
    share = min(1.0, max(0.0, (x - low) / (high - low)))
    return share * share * (3.0 - 2.0 * share)
