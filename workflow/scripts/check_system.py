"""Name what the system lacks, with the command that mends it. Runs before anything is installed."""

import ctypes
import importlib.util
import sys

SUPPORTED = ((3, 11), (3, 12))
LIBRARIES = {"libGL.so.1": "libgl1", "libglib-2.0.so.0": "libglib2.0-0", "libEGL.so.1": "libegl1"}


def main():
    problems = []
    if sys.version_info[:2] not in SUPPORTED:
        found = ".".join(map(str, sys.version_info[:3]))
        problems.append(
            f"Python 3.11 or 3.12 is needed, this is {found}: run make PYTHON=python3.11"
        )
    if importlib.util.find_spec("ensurepip") is None:
        problems.append("the venv module is missing: run apt-get install -y python3-venv")
    missing = [package for library, package in LIBRARIES.items() if not loads(library)]
    if missing:
        problems.append(
            "libraries that OpenCV and MediaPipe load are missing: "
            f"run apt-get install -y {' '.join(missing)}"
        )
    if problems:
        sys.exit("\n".join(problems))


def loads(library):
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


if __name__ == "__main__":
    main()
