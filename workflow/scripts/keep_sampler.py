"""Keep the ranks of clips alive between them: started by launch_sampler.py, for its run."""

import argparse

from animate.serving.keeper import Keeper
from animate.serving.messages import take_standard_input
from animate.serving.servers import Run

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True, help="beginning of the name that jobs look for")
    parser.add_argument("--run", type=int, required=True, help="process number of Snakemake")
    parser.add_argument("--warm-seconds", type=float, required=True, help="without a clip")
    parser.add_argument("command", nargs="+", help="what starts the ranks, after --")
    arguments = parser.parse_args()
    keeper = Keeper(arguments.name, Run.of(arguments.run), arguments.warm_seconds)
    keeper.keep(take_standard_input(), arguments.command)
