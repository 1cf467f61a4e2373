"""Whether this process leads: torchrun starts several that train one network, and tells each its number."""

import os

WORLD = int(os.environ.get("WORLD_SIZE", "1"))  # processes that train together
RANK = int(os.environ.get("RANK", "0")) if WORLD > 1 else 0
LEADS = RANK == 0  # it alone writes files, takes locks and prints; the others only compute
