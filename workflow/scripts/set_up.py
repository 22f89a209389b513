"""Set up the virtual environment from requirements.lock, without root and without a compiler.

It begins on whatever `python3` there is: Python 3.6 or newer can read this file. What it cannot do
by itself it says in one sentence.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.request import urlretrieve

ROOT = Path(__file__).resolve().parents[2]
# Those that the wheel of MediaPipe in the lock is built for.
PYTHONS = ("3.12", "3.11")
# PyTorch and what it brings, which differ from build to build.
TORCH = re.compile(r"(torch|torchvision|triton|nvidia-.*|cuda-.*)==")
# The builds of PyTorch that are not on the package index: cu126, cu128, cpu and others.
BUILDS = "https://download.pytorch.org/whl"
# The pip project's own way to a pip where Python comes without one.
GET_PIP = "https://bootstrap.pypa.io/get-pip.py"
# What `pip check` says of a good environment. MediaPipe asks for the OpenCV with windows, which
# needs system libraries; the lock has the one without, the same in all else, under another name.
# The wheel of decord, which only tests use, carries another tag inside than in its file's name.
KNOWN = re.compile(
    r"mediapipe \S+ requires opencv-contrib-python, which is not installed\."
    r"|decord \S+ is not supported on this platform"
)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="the virtual environment")
    parser.add_argument("--pytorch", default="", help="a build such as cu126; else the lock's")
    arguments = parser.parse_args()
    try:
        set_up(arguments.folder, arguments.pytorch)
    except subprocess.CalledProcessError as error:
        sys.exit("set-up failed, see above: " + " ".join(map(str, error.cmd[:4])))


def set_up(folder, build):
    """Make the environment `folder`, or bring it up to date if it has this build of PyTorch."""
    python, chosen = folder / "bin" / "python", folder / ".pytorch"
    if not (chosen.is_file() and chosen.read_text() == build and python.exists()):
        shutil.rmtree(str(folder), ignore_errors=True)
        make_environment(folder)
        chosen.write_text(build)
    install([str(python), "-m", "pip"], build)


def make_environment(folder):
    """Make a virtual environment with pip and a Python that all packages have wheels for."""
    python, uv = find_python(), find_uv()
    if python and has_ensurepip(python):
        run(python, "-m", "venv", folder)
    elif uv:
        oldest, newest = PYTHONS[-1], PYTHONS[0]
        wanted = python or f">={oldest},<={newest}.99"
        run(uv, "venv", "--quiet", "--seed", "--python", wanted, folder)
    elif python:
        run(python, "-m", "venv", "--without-pip", folder)
        fetch_pip(folder)
    else:
        this = ".".join(map(str, sys.version_info[:3]))
        sys.exit(
            f"Python {' or '.join(reversed(PYTHONS))} is needed and this is {this}: install uv "
            "with `curl -LsSf https://astral.sh/uv/install.sh | sh` and call make again, which "
            f"then fetches one, or name yours, as in `make PYTHON=python{PYTHONS[0]}`"
        )


def has_ensurepip(python):
    """Return whether a Python can make an environment with pip; Debian's cannot by itself."""
    return subprocess.call([python, "-c", "import ensurepip"], stderr=subprocess.DEVNULL) == 0


def find_python():
    """Return a supported Python: the one that runs this, or another that can be called."""
    if "{}.{}".format(*sys.version_info) in PYTHONS:
        return sys.executable
    return next(filter(None, (shutil.which("python" + version) for version in PYTHONS)), None)


def find_uv():
    # Where its installer puts it; the shell that is open does not look there yet.
    return shutil.which("uv") or shutil.which(str(Path.home() / ".local" / "bin" / "uv"))


def fetch_pip(folder):
    address, script = os.environ.get("GET_PIP", GET_PIP), folder / "get-pip.py"
    try:
        urlretrieve(address, str(script))
    except OSError as error:
        shutil.rmtree(str(folder))
        sys.exit(
            f"this Python has no pip, and {address} cannot be read ({error}): install uv, or as "
            "root python3-venv, or set GET_PIP to where you have that file"
        )
    run(folder / "bin" / "python", script, "--quiet", "--no-setuptools", "--no-wheel")


def install(pip, build):
    """Install what the lock names, with the lock's PyTorch or another build of it."""
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    torch = [pin for pin in pins if TORCH.match(pin)]
    late = [pin for pin in pins if pin.startswith("sam2==")]
    others = [pin for pin in pins if pin not in torch + late]
    command = [*pip, "install", "--quiet", "--disable-pip-version-check"]
    # The lock names all: nothing needs to be resolved.
    locked = [*command, "--no-deps"]
    if build:
        run(*locked, *others)
        run(*command, "--index-url", f"{BUILDS}/{build}", *ranges(torch))
        check_build(pip[0], build)
    else:
        # Two at once, because unpacking keeps a processor busy.
        with subprocess.Popen([*locked, *torch]) as second:
            run(*locked, *others)
        if second.returncode:
            raise subprocess.CalledProcessError(second.returncode, second.args)
    # Its build imports the installed torch, and would compile CUDA code where it finds a compiler.
    environment = dict(os.environ, SAM2_BUILD_CUDA="0")
    run(*locked, "--no-build-isolation", *late, env=environment)
    check(pip)


def ranges(torch):
    """Return what of another build is as good as the lock's: not every build has each release."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    locked = dict(pin.split("==") for pin in torch)
    wanted = re.findall(r'"(torch|torchvision)(>=[\d.]+),', project)
    return [f"{name}{oldest},<={locked[name]}" for name, oldest in wanted]


def check_build(python, build):
    """Stop if pip took another index's PyTorch, as it does when one is set that has newer ones."""
    command = [python, "-c", "from importlib.metadata import version; print(version('torch'))"]
    found = subprocess.check_output(command, universal_newlines=True).strip()
    if not found.endswith("+" + build):
        sys.exit(
            f"pip found PyTorch {found} in place of a build for {build}: take other sources of "
            "packages out of pip's configuration (`pip config list` shows it) and call make again"
        )


def check(pip):
    """Stop unless all packages agree, as far as the lock wants it."""
    command = [*pip, "check", "--disable-pip-version-check"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, universal_newlines=True) as checking:
        lines = checking.communicate()[0].splitlines()
    wrong = [line for line in lines if not KNOWN.fullmatch(line)]
    if checking.returncode and wrong:
        sys.exit("\n".join(wrong))


def run(*command, **options):
    subprocess.check_call(list(map(str, command)), **options)


if __name__ == "__main__":
    main()
