"""A rank that ends with the process that started it, so that none keeps a GPU; without torch."""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
# Where the launcher writes its process number, for the ranks to know it.
LAUNCHER = "WAN_ANIMATE_LAUNCHER"
# Apart from 1, the code of a rank that has told what is wrong with its clip.
UNEXPECTED = 70


def die_with_parent() -> None:
    """Have the kernel kill this rank when its launcher dies, however that happens.

    Without a launcher, when a rank is run by hand, it does nothing.
    """
    launcher = os.environ.get(LAUNCHER)
    if launcher is None or sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    # It may have died before the kernel was told.
    if os.getppid() != int(launcher):
        os.kill(os.getpid(), signal.SIGKILL)
