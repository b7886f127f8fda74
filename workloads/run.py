"""Any job by hand: `python -m workloads.run request.json`; what it does is in `workloads/runtime/run.py`."""

import sys

from workloads.runtime.run import main

if __name__ == "__main__":
    sys.exit(main())
