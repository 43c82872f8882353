"""How sure a measured share is."""

import math

_Z95 = 1.959964


def wilson_interval(n_right: int, n: int) -> tuple[float, float]:
    """Return the 95 % confidence interval of a share (Wilson, JASA 1927).

    Unlike the normal approximation it stays within 0..1 and holds for small samples.

    Parameters
    ----------
    n_right
        How many of `n` independent trials came out right.

    Returns
    -------
    tuple of float
        Lower and upper bound.

    Raises
    ------
    ValueError
        If `n` is 0 or `n_right` is not within 0..n.
    """
    if not 0 <= n_right <= n or n == 0:
        raise ValueError(f"{n_right} of {n} is not a share")
    share = n_right / n
    centre = share + _Z95**2 / (2 * n)
    spread = _Z95 * math.sqrt(share * (1 - share) / n + _Z95**2 / (4 * n**2))
    scale = 1 + _Z95**2 / n
    return (centre - spread) / scale, (centre + spread) / scale
