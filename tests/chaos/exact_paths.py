"""Where the tests of exact resuming find the tiny trainings and evaluations; acts by being imported."""

import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "training"), str(TESTS / "evaluation")]
