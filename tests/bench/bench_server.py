"""The warm server of the benchmark's workload, with the preload of the product's: imported once, as that is."""

import sys

from workloads.contract.request import DEFAULT_WORKLOAD
from workloads.runtime.server import main, preload

if __name__ == "__main__":
    of_the_product = [name for name in preload(DEFAULT_WORKLOAD) if "stage" not in name]
    sys.exit(main([*of_the_product, *preload("bench_workload")]))
