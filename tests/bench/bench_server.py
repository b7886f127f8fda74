"""The warm server with the one-step stage, and the preload of the product's."""

import sys

from workloads.serve import PRELOAD, main

if __name__ == "__main__":
    sys.exit(main(modules={"data": "one_step"}, preload=[name for name in PRELOAD if "stage" not in name]))
