"""Importing this lets `python tests/chaos` find what lies beside this folder, as pytest does by itself."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
