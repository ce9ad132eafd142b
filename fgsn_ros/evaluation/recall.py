"""Share of poses within pairs of position and rotation thresholds."""

import numpy as np
from numpy.typing import ArrayLike

THRESHOLDS = ((0.25, 2.0), (0.5, 5.0), (5.0, 10.0))
"""(m, deg) of the long-term visual localization benchmark (Sattler et al., CVPR 2018)."""


def recall_percent(position_m: ArrayLike, rotation_deg: ArrayLike) -> tuple[float, ...]:
    """Percentage of poses within each of THRESHOLDS, both bounds included.

    Raises:
        ValueError: there is no pose.
    """
    position, rotation = np.asarray(position_m), np.asarray(rotation_deg)
    if position.size == 0:
        raise ValueError("recall needs at least one pose")
    within = [(position <= metres) & (rotation <= degrees) for metres, degrees in THRESHOLDS]
    return tuple(100.0 * float(hits.mean()) for hits in within)
