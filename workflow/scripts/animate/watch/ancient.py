"""A job behind `ancient` files is asked for its own reasons to run.

Where a job is to run, Snakemake does not ask those that follow it: they run since it does. But not
behind `ancient` files, so that a clip whose sound and steps change at once would not be sampled.
Delete this once `update_needrun` of Snakemake asks the jobs behind such files.
"""

from typing import Any


class _Renewing:
    """The jobs that follow each job, without those that take nothing but `ancient` files of it."""

    def __init__(self, depending: Any):
        self._depending = depending

    def __getitem__(self, job: Any) -> dict:
        following = self._depending[job].items()
        return {other: files for other, files in following if not all(f.is_ancient for f in files)}


def ask_behind_ancient_files() -> None:
    """Have Snakemake ask them; call it while the rules are read, before there are jobs."""
    from snakemake.dag import DAG

    walk = DAG.bfs

    def bfs(dag, direction, *jobs, **options):
        if direction is dag.depending:
            direction = _Renewing(direction)
        return walk(dag, direction, *jobs, **options)

    # Snakemake may read the rules several times in one process.
    if walk.__module__ == DAG.__module__:
        DAG.bfs = bfs
