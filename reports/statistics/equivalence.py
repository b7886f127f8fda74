r"""Equivalence: a test whose claim is that there is no effect, up to a margin.

That a test of "no effect" does not reject is no evidence of none. With a margin $m$, fixed before, the claim $|\delta|
< m$ is what two one-sided tests reject the opposite of: $\delta \le -m$ and $\delta \ge m$. Its p is the larger of
theirs, doubled: then it is at most $\alpha$ exactly where the interval of level $1 - \alpha$ lies between the margins,
and the claim and the claim that $\delta$ is above the margin, with its own p doubled, are together wrong with
probability $\alpha$ at most, at $\delta = m$ too.

Source: Schuirmann (1987), Journal of Pharmacokinetics and Biopharmaceutics 15(6), 657-680, who does not double.
"""

from dataclasses import dataclass

from scipy.special import stdtr

from reports.statistics.intervals import Interval


@dataclass(frozen=True, kw_only=True)
class Equivalence:
    """p of three claims on an effect and a margin; each at most 1."""

    within: float
    """That it is within the margin on both sides."""
    above: float
    """That it is above the margin."""
    below: float
    """That it is below the negative margin."""


def equivalence(interval: Interval, margin: float) -> Equivalence:
    """Test an effect against a margin.

    Raises:
        ValueError: a margin that is not positive.
    """
    if not margin > 0:
        raise ValueError(f"a margin is {margin}; allowed: a positive number, in the unit of the effect")
    over, under = interval.mean - margin, interval.mean + margin  # its distances from the edges
    return Equivalence(
        within=min(1.0, 2.0 * max(_negative(interval, over), _negative(interval, -under))),
        above=min(1.0, 2.0 * _negative(interval, -over)),
        below=min(1.0, 2.0 * _negative(interval, under)),
    )


def _negative(interval: Interval, distance: float) -> float:
    """One-sided p of a distance, with the effect's error, being negative."""
    if interval.error <= 0:
        return 0.0 if distance < 0 else 1.0
    return float(stdtr(interval.freedom, distance / interval.error))
