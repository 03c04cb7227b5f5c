"""Say whether a score moved between two runs, and whether by more than noise.

Plain Python, one pass, and no random number: the same two runs give the same verdict
on every machine. A test, or a row that it opens, counts once, however many trials it
has.

Sources that the formulas name:

- Miller 2024, "Adding Error Bars to Evals", arXiv:2411.00640: standard errors
  (equations 1, 4, 7, 8), numbers of tests and trials (9, 10).
- Pagano & Tritchler 1983, "On obtaining permutation distributions in polynomial
  time", JASA 78; Streitberg & Röhmel 1986, the same as the shift algorithm.
- Guenther 1981, "Sample size formulas for normal theory t tests", Am. Stat. 35.
- Hill 1970, "Student's t-distribution", CACM algorithm 395.
- Wilson 1927, "Probable inference, the law of succession, and statistical
  inference", JASA 22; Clopper & Pearson 1934, Biometrika 26: shares of tests.
- Holm 1979, "A simple sequentially rejective multiple test procedure"; Tarone 1990,
  "A modified Bonferroni method for discrete data", Biometrics 46.
"""

from __future__ import annotations

from pytest_braintrust.statistics.alone import MeanAccumulator, estimate
from pytest_braintrust.statistics.distributions import (
    normal_quantile,
    t_cdf,
    t_quantile,
)
from pytest_braintrust.statistics.flips import ENUMERATED_AT_MOST
from pytest_braintrust.statistics.numbers import (
    ALPHA,
    POWER,
    Better,
    Comparison,
    Estimate,
    Interval,
    Method,
    Sensitivity,
    Verdict,
)
from pytest_braintrust.statistics.paired import (
    FLIPPED_AT_MOST,
    PairedAccumulator,
    compare,
)
from pytest_braintrust.statistics.planning import sensitivity
from pytest_braintrust.statistics.verdicts import (
    Judged,
    holm,
    judged_together,
    verdict,
)

__all__ = [
    "ALPHA",
    "ENUMERATED_AT_MOST",
    "FLIPPED_AT_MOST",
    "POWER",
    "Better",
    "Comparison",
    "Estimate",
    "Interval",
    "Judged",
    "MeanAccumulator",
    "Method",
    "PairedAccumulator",
    "Sensitivity",
    "Verdict",
    "compare",
    "estimate",
    "holm",
    "judged_together",
    "normal_quantile",
    "sensitivity",
    "t_cdf",
    "t_quantile",
    "verdict",
]
