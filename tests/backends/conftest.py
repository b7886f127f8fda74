"""Tests with a real backend use the toy jobs of the host's tests, the small study and the contract of backends."""

import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "host"), str(TESTS / "chaos"), str(TESTS)]
