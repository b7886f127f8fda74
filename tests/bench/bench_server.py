"""The warm server with the one-step stage, and the preload of the product's."""

import sys

from workloads.runtime.server import main, preload

if __name__ == "__main__":
    sys.exit(main(modules={"data": "one_step"}, imports=[name for name in preload() if "stage" not in name]))
