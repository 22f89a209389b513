"""The transformer's weights on their way to the device while Python imports what will use them."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import torch

from animate.weights.storage.reading import AHEAD, Reading
from animate.weights.storage.stored import StoredTensor
from animate.weights.transformer_file.tensors import transformer_tensors

# Of a GPU's free memory, what they may fill before anybody has planned it.
SHARE = 1 / 3


class EarlyWeights:
    """The tensors of a transformer's folder or file, read from the moment this is made.

    Raises:
        ClipError: see `transformer_tensors`.
    """

    def __init__(self, source: Path, device: torch.device):
        self.source = source
        tensors = list(transformer_tensors(source).values())
        self._names = iter([tensor.name for tensor in tensors])
        ahead = AHEAD
        if device.type == "cuda":
            ahead = int(torch.cuda.mem_get_info(device)[0] * SHARE)
        self._coming = Reading(tensors, device, ahead)

    def __enter__(self) -> "EarlyWeights":
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def close(self) -> None:
        """Read no more, and give back the memory of what nobody asked for."""
        self._coming.close()

    def read(self, wanted: Iterable[StoredTensor]) -> Iterator[torch.Tensor]:
        """Yield some of the tensors in the order in which they are asked for.

        What comes before its turn is held: best is the order of `transformer_tensors`.
        """
        names = [stored.name for stored in wanted]
        needed, held = set(names), {}
        coming = zip(self._names, self._coming, strict=False)
        for name in names:
            while name not in held:
                came, tensor = next(coming, (None, None))
                if came is None:
                    return
                if came in needed:
                    held[came] = tensor
            yield held.pop(name)
