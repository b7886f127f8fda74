"""The warm server with the one-step stage, and the preload of the product's."""

import sys

from workloads.contract.request import DEFAULT_WORKLOAD
from workloads.runtime.server import main, preload

if __name__ == "__main__":
    sys.exit(main([name for name in preload(DEFAULT_WORKLOAD) if "stage" not in name]))
