"""The normal and Student's t distribution, to the last digits."""

from __future__ import annotations

import math
from statistics import NormalDist

from pytest_braintrust.statistics.numbers import probability

_NORMAL = NormalDist()


def normal_quantile(p: float) -> float:
    """The z that a standard normal value stays below with probability p.

    The standard library's (Wichura 1988, algorithm AS 241), good to 1e-15.

    Raises:
        ValueError: `p` is not between 0 and 1.
    """
    return _NORMAL.inv_cdf(probability("p", p))


def t_cdf(t: float, df: float) -> float:
    """The probability that Student's t with `df` degrees is below t.

    Good to 1e-12 of the value for `t <= 0`, far tails included, which is why a
    p-value is `2 * t_cdf(-abs(t), df)`. `df` may be infinite: the normal
    distribution.

    Raises:
        ValueError: `df` is below 1.
    """
    if math.isinf(_degrees(df)):
        return math.erfc(-t / math.sqrt(2)) / 2
    ratio = abs(t) / math.sqrt(df)
    # log(1 + t²/df), where the square may not overflow.
    log = math.log1p(ratio * ratio) if ratio < 1e8 else 2 * math.log(ratio)  # noqa: PLR2004
    tail = _t_tail(log, df)
    return 1 - tail if t > 0 else tail


def t_quantile(p: float, df: float) -> float:
    """The t that Student's t with `df` degrees stays below with probability p.

    Good to 1e-12 of the value, or to 1e-15 where that is more (about p = ½).

    Newton's method on the logarithm of the tail, in z = √(df · log(1 + t²/df)): the
    distribution is nearly normal there for any number of degrees, so a few steps
    from the normal quantile do.

    Raises:
        ValueError: `p` is not between 0 and 1, or `df` is below 1.
    """
    z = -normal_quantile(min(p, 1 - p)) if p != 0.5 else 0.0  # noqa: PLR2004
    if z == 0 or math.isinf(_degrees(df)):
        return math.copysign(z, p - 0.5)
    aim = math.log(min(p, 1 - p))
    for _ in range(20):
        tail = _t_tail(z * z / df, df)
        slope = _t_weight(z * z / df, df) * z / (-math.expm1(-z * z / df) * df)
        step = tail / slope * (math.log(tail) - aim)
        z += step
        if abs(step) <= 1e-15 * z:
            break
    log = z * z / df
    t = math.sqrt(-math.expm1(-log) * df) * math.exp(log / 2)
    return math.copysign(t, p - 0.5)


def _degrees(df: float) -> float:
    if not df >= 1:
        msg = f"degrees of freedom must be 1 or more, got {df!r}"
        raise ValueError(msg)
    return df


def _t_tail(log: float, df: float) -> float:
    """P(T > t) for t >= 0, from log(1 + t²/df).

    Half the regularised incomplete beta function I_x(df/2, ½) at x = df/(df + t²),
    by whichever of its two continued fractions converges fast.
    """
    if df > 5000:  # noqa: PLR2004 - where Hill's error is below 1e-13
        return math.erfc(_hill(log, df) / math.sqrt(2)) / 2
    half, x, y = df / 2, math.exp(-log), -math.expm1(-log)
    weight = _t_weight(log, df)
    if x < (half + 1) / (half + 2.5):
        return weight * _beta_fraction(half, 0.5, x) / df
    return 0.5 - weight * _beta_fraction(0.5, half, y)


def _t_weight(log: float, df: float) -> float:
    """x^a (1 − x)^½ / B(a, ½) for a = df/2: what both fractions are multiplied by."""
    a = df / 2
    return (
        math.exp(-a * log)
        * math.sqrt(-math.expm1(-log))
        * _gamma_ratio(a)
        / math.sqrt(math.pi)
    )


def _gamma_ratio(a: float) -> float:
    """Γ(a + ½) / Γ(a); the difference of log-gammas would lose nine digits at 1e6."""
    if a < 100:  # noqa: PLR2004 - Γ overflows at 171
        return math.gamma(a + 0.5) / math.gamma(a)
    return math.sqrt(a) * math.exp(-1 / (8 * a) + 1 / (192 * a**3) - 1 / (640 * a**5))


def _hill(log: float, df: float) -> float:
    """The normal deviate with the tail of t, for many degrees (Hill 1970)."""
    a = df - 0.5
    b = 48 * a * a
    y = a * log
    inner = (((-0.4 * y - 3.3) * y - 24) * y - 85.5) / (0.8 * y * y + 100 + b)
    return ((inner + y + 3) / b + 1) * math.sqrt(y)


def _beta_fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of the incomplete beta function, by Lentz's method.

    Press et al., "Numerical Recipes", section 6.4, without the factor 1/a. Below 1000
    degrees it takes at most a hundred or so rounds.
    """
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, 1000):
        for factor in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            c, d = 1 + factor / c, 1 / (1 + factor * d)
            value *= c * d
        if abs(c * d - 1) < 1e-15:  # noqa: PLR2004
            break
    return value
