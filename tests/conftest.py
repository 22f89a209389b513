"""Set-up shared by all tests."""

import os

# One test process runs per core: more threads each would only wait for one another.
os.environ["OMP_NUM_THREADS"] = "1"
