"""Tests in a browser use the made report and the made plan of other tests."""

import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "reports"), str(TESTS / "tracking")]
