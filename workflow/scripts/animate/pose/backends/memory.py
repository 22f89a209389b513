"""Give the memory of frames back to the system as soon as they are done with."""

import ctypes
import sys

M_MMAP_THRESHOLD = -3
FRAME_BYTES = 1 << 20


def return_frames() -> None:
    """Make glibc return every block of 1 MB or more when it is freed.

    By default it keeps such blocks after the first, and with many threads decoding frames and
    working on them their memory grew with the clip. Elsewhere than on glibc it does nothing.
    """
    if sys.platform == "linux":
        adjust = getattr(ctypes.CDLL(None), "mallopt", None)
        if adjust is not None:
            adjust(M_MMAP_THRESHOLD, FRAME_BYTES)
