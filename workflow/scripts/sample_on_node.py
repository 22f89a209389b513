"""Start a clip's ranks on this node of a SLURM job, the model on its own disk when asked."""

import argparse
import os
import signal
import sys
from pathlib import Path

from animate.cluster.launch import ranks_command
from animate.weights.storage.staging import stage_job

SAMPLER = Path(__file__).with_name("sample.py")


def main(arguments: argparse.Namespace) -> None:
    """Become torchrun; SLURM's warning is ignored until there are ranks to pass it on to."""
    program = [str(SAMPLER), f"--device={arguments.device}", f"--compile={arguments.compile}"]
    if arguments.scratch:
        staged = stage_job(arguments.settings, arguments.scratch, os.environ, _say)
        program.append(f"--staged={staged}")
    program.append(str(arguments.settings))
    command = ranks_command(arguments.nodes, arguments.ranks, program)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    os.execv(command[0], command)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, required=True)
    parser.add_argument("--ranks", type=int, required=True, help="ranks of this node")
    parser.add_argument("--scratch", help="folder on this node's disk; may name variables as $X")
    parser.add_argument("--device", default="auto", help="auto, cuda or cpu")
    parser.add_argument("--compile", default="auto", help="auto, on or off")
    parser.add_argument("settings", type=Path)
    main(parser.parse_args())
