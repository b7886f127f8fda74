"""The warm server with the one-step stage, and the preload of the product's."""

import sys

from workloads.contract.defaults import DEFAULT
from workloads.runtime.server import main, preload

if __name__ == "__main__":
    sys.exit(main([name for name in preload(DEFAULT) if "stage" not in name]))
