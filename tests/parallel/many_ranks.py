"""The rows of a picture on as many ranks as GPUs can share a clip, run by test_ranks.py.

The ranks are forked: forty times importing PyTorch would take minutes.
"""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as processes

import ranks


def check(rank: int, count: int, meeting: Path) -> None:
    """Join the others and compare the rows."""
    dist.init_process_group("gloo", f"file://{meeting}", rank=rank, world_size=count)
    ranks.check_rows()
    dist.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder, count = Path(sys.argv[1]), int(sys.argv[2])
    processes.start_processes(check, (count, folder / f"{count}"), count, start_method="fork")
    print(f"rows passed on {count} ranks")
