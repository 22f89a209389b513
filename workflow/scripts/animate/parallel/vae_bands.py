"""The VAE's forward with less memory: bands of a frame, each from its first frame to its last.

Most of what a streamed VAE holds are the frames that its causal convolutions remember. A band
remembers its own alone. It is computed with as many rows (or columns) around it as the convolutions
see, so no band needs another; those rows are computed twice. The middle of the VAE attends to
whole frames, which are small there.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from animate.parallel.plan import BANDS
from animate.parallel.rows import WholeRows
from animate.parallel.vae_stream import Memory, Trim, VaeStream, pieces


class BandedVaeStream(VaeStream):
    """A `VaeStream` that takes bands of frames where one process has all rows."""

    def encode(self, video: torch.Tensor, rows: WholeRows, piece: int) -> torch.Tensor:
        """See `VaeStream`."""
        if type(rows) is not WholeRows:
            return super().encode(video, rows, piece)
        encoder, deep = self._vae.encoder, None
        halo, halos = encoder_halos(encoder.down_blocks)
        scale = 2 ** len(halos)
        for band in bands_of(video.shape[1] // scale, video.shape[2] // scale):
            trims, memory = band.trims(scale, halo, halos, 0.5), {}
            found = [
                self._down(part, memory, rows, iter(trims))
                for part in pieces(band.of(video, scale, halo), 4 * piece)
            ]
            found = torch.cat(found)
            if deep is None:
                size = len(found), video.shape[1] // scale, video.shape[2] // scale
                deep = found.new_empty(*size, found.shape[-1])
            band.of(deep, 1, 0).copy_(found)
        memory = {}
        return self._means([self._after_down(x, memory, rows) for x in pieces(deep, piece)])

    def decode(self, latents: torch.Tensor, rows: WholeRows, piece: int) -> Iterator[torch.Tensor]:
        """See `VaeStream`; the first frames come when nearly all is computed."""
        if type(rows) is not WholeRows:
            yield from super().decode(latents, rows, piece)
            return
        memory: Memory = {}
        given = pieces(self._given(latents), piece)
        deep = torch.cat([self._before_up(x, memory, rows) for x in given])
        del memory
        halo, halos = decoder_halos(self._vae.decoder.up_blocks)
        scale = 2 ** len(halos)
        video = None
        for band in bands_of(*deep.shape[1:3]):
            trims, memory, first = band.trims(1, halo, halos, 2), {}, 0
            for part in pieces(band.of(deep, 1, halo), piece):
                frames = self._up(part, memory, rows, iter(trims))
                if video is None:
                    count = 1 + (len(deep) - 1) * 4
                    video = frames.new_empty(
                        count, deep.shape[1] * scale, deep.shape[2] * scale, frames.shape[-1]
                    )
                last = first + len(frames)
                band.of(video[first:last], scale, 0).copy_(frames)
                first = last
        yield from pieces(video, 4 * piece)


@dataclass(frozen=True)
class Band:
    """A run of rows (dim 1) or columns (dim 2) of frames (T, h, w, C).

    It goes from `start` to `stop` of `length`, all in latents. A halo, of so many rows on each
    side, ends at the frame's edges; scale is the number of rows per latent.
    """

    dim: int
    start: int
    stop: int
    length: int

    def of(self, x: torch.Tensor, scale: int, halo: int) -> torch.Tensor:
        """Return the band and its halo of whole frames."""
        first, last = self._window(scale, halo)
        return x.narrow(self.dim, first, last - first)

    def trims(self, scale: int, halo: int, halos: list[int], factor: float) -> list[Trim]:
        """Return what cuts the halo off a band that has `halo`, at first at `scale`.

        Before each resampling it is cut to the next of `halos`, and after the last to nothing.
        """
        made = []
        for following in halos:
            made.append(self._trim(scale, halo, following))
            scale, halo = int(scale * factor), int(following * factor)
        return [*made, self._trim(scale, halo, 0)]

    def _window(self, scale: int, halo: int) -> tuple[int, int]:
        first, last = self.start * scale - halo, self.stop * scale + halo
        return max(0, first), min(self.length * scale, last)

    def _trim(self, scale: int, halo: int, wanted: int) -> Trim:
        (had, _), (first, last) = self._window(scale, halo), self._window(scale, wanted)

        def trim(x: torch.Tensor) -> torch.Tensor:
            return x.narrow(self.dim, first - had, last - first).contiguous()

        return trim


def bands_of(height: int, width: int, most: int = BANDS) -> list[Band]:
    """Return the bands of frames of so many latents, across their longer side."""
    dim, length = (1, height) if height > width else (2, width)
    parts = torch.arange(length).tensor_split(min(most, length))
    return [Band(dim, int(part[0]), int(part[-1]) + 1, length) for part in parts]


def encoder_halos(layers: nn.ModuleList) -> tuple[int, list[int]]:
    """Return the halo of the frames, and of what each of the layers that halve them takes."""
    halo, halos = 0, []
    for layer in reversed(layers):
        if hasattr(layer, "resample"):
            # Even, so that each pixel is halved with the same neighbours as in the whole frame.
            halo = 2 * (halo + 1)
            halos.insert(0, halo)
        else:
            halo += 2
    return halo + 1, halos


def decoder_halos(blocks: nn.ModuleList) -> tuple[int, list[int]]:
    """Return the halo of the middle's result, and of what each layer that doubles it takes."""
    halo, halos = 1, []
    for block in reversed(blocks):
        if block.upsamplers:
            halo = halo // 2 + 1
            halos.insert(0, halo)
        halo += 2 * len(block.resnets)
    return halo, halos
