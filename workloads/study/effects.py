"""Smallest effects that the findings have to be able to tell; `plan`, `power` and `register` read them.

Findings 1, 2 and 6 have none: they ask for the order of rows and for shares of a range, which are not differences of
rows in a unit.
"""

from reports.spec import RaceSpec, SmallestEffect

POINTS = 5.0
"""Of 100: one step of five in the presence of the object, which has a quarter of the judge's weight."""
MARGIN_DB = 0.5
"""Difference of replay PSNR that counts as none (finding 4): commonly taken for invisible."""

SMALLEST_EFFECTS = (
    SmallestEffect(
        finding="3",
        metric="return",
        pairs=(("compress-hybrid-r2", "compress-length-r2"), ("compress-hybrid-r4", "compress-length-r4")),
        effect=POINTS,
        reason="one step of five in the presence of the object",
    ),
    SmallestEffect(
        finding="4",
        metric="replay/psnr",
        pairs=(("spatial", "context-k1"),),
        effect=MARGIN_DB,
        claim="equivalence",
        reason="a smaller difference of PSNR is not seen",
    ),
    SmallestEffect(
        finding="5",
        metric="return",
        pairs=(("ssm-blockwise", "ssm-hybrid"),),
        effect=POINTS,
        reason="one step of five in the presence of the object",
    ),
)

RACE = RaceSpec(
    metric="return", baseline="context-k1", margin=POINTS, reason="one step of five in the presence of the object"
)
