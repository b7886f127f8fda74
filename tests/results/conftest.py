"""What these tests share with those of reports and the bench."""

import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "reports"), str(TESTS / "bench")]
