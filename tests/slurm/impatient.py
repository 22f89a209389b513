"""Snakemake that waits a second where it would wait longer.

The plugin asks ever more rarely while no job ends well, at last every three minutes, and a run
looks at all its clips once a minute: most of a test would be waiting for that.
"""

import asyncio
import sys
import time

from snakemake.cli import main
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor


async def sleep_a_second(executor: RemoteExecutor) -> None:
    await asyncio.sleep(1)


if __name__ == "__main__":
    RemoteExecutor.sleep = sleep_a_second
    sleep = time.sleep
    time.sleep = lambda seconds: sleep(min(seconds, 1))
    main(sys.argv[1:])
