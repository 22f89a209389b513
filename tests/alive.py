"""Counts the memory of tensors, on a CPU or of tensors that have none (meta)."""

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Alive(TorchDispatchMode):
    """Counts the most bytes of tensors that are alive after an operation.

    `tensors` are counted from the start, and those of `others`, such as weights, never.
    """

    def __init__(self, *tensors: torch.Tensor, others: torch.nn.Module | None = None):
        super().__init__()
        weights = others.parameters() if others else ()
        self._others = {weight.untyped_storage()._cdata for weight in weights}
        self.peak, self._alive = 0, {}
        self._add(tensors)

    def _add(self, result) -> None:
        for tensor in filter(torch.is_tensor, tree_leaves(result)):
            storage = tensor.untyped_storage()
            if storage._cdata not in self._others:
                self._alive[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
        self._alive = {key: held for key, held in self._alive.items() if not held[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self._alive.values()))

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        self._add(result)
        return result
