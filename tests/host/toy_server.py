"""The warm server with toy stages and a short preload: what tests of the host start."""

import sys

from workloads.runtime.server import main

if __name__ == "__main__":
    sys.exit(main(("torch", "torch._inductor")))
