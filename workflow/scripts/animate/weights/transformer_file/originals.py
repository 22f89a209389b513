"""A tensor of such a file by its original name: where its bytes lie, and how numbers become of it.

An original tensor may be several of Diffusers', cut along the first axis, so each is asked for by
its share of the rows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from animate.errors import ClipError
from animate.weights.storage.stored import Place

Decode = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Original:
    """A tensor's numbers by shape, its bytes, and their type; `dtype` is what they are read as.

    `decoder` returns, for the shape of a share, its number and their count, what makes numbers of
    what is read; None where they are numbers already. Encoded numbers come in blocks of `block`.
    """

    file: Path
    name: str
    kind: str
    shape: torch.Size
    start: int
    size: int
    dtype: torch.dtype
    decoder: Callable[[torch.Size, int, int], Decode] | None = None
    block: int = 1

    def place(self, shape: torch.Size, part: int = 0, parts: int = 1) -> Place:
        """Return where share `part` of `parts` lies, which has this shape.

        Raises:
            ClipError: the file's encoding does not end where the share does.
        """
        if shape.numel() % self.block:
            raise ClipError(
                f"{self.file} has {self.name} as {self.kind}, in blocks of {self.block} that cannot"
                f" be cut in {parts}: use a file that stores it as F16 or F32"
            )
        size = self.size // parts
        read = shape if self.block == 1 else torch.Size([size // self.dtype.itemsize])
        decode = self.decoder and self.decoder(shape, part, parts)
        return Place(self.start + part * size, read, self.dtype, decode)
