"""Imported last by a toy server: from then on its machine has no process left, as under `ulimit -u`."""

import os
import resource

if os.getuid() == 0:  # whom no limit holds
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
