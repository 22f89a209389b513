"""Whether all ranks of a clip met the same mistake, so that they can go on with the next clip."""

from datetime import timedelta

import torch.distributed as dist

from animate.devices.world import World

# Ranks that look at the same files are not further apart.
APART = timedelta(seconds=10)
PATIENCE = timedelta(seconds=60)


class Agreement:
    """A group of all ranks for this question alone: others may be stuck with a rank that left."""

    def __init__(self, world: World):
        """All ranks make one together."""
        self._world = world
        several = world.size > 1
        self._group = dist.new_group(backend="gloo", timeout=PATIENCE) if several else None

    def on(self, mistake: str) -> bool:
        """Return whether every rank comes here soon, with the same mistake."""
        if self._group is None:
            return True
        found = [None] * self._world.size
        try:
            dist.monitored_barrier(self._group, timeout=APART)
            dist.all_gather_object(found, mistake, group=self._group)
        except RuntimeError:
            return False
        return found == [mistake] * self._world.size
