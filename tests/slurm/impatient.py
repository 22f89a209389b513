"""Snakemake that asks SLURM every second how its jobs are.

The plugin asks ever more rarely while no job ends well, at last every three minutes: most of a
test would be waiting for it.
"""

import asyncio
import sys

from snakemake.cli import main
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor


async def sleep_a_second(executor: RemoteExecutor) -> None:
    await asyncio.sleep(1)


if __name__ == "__main__":
    RemoteExecutor.sleep = sleep_a_second
    main(sys.argv[1:])
