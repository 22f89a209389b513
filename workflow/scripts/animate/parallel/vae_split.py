"""The sampler's VAE: each rank encodes and decodes its rows of the frames."""

from collections.abc import Iterator, Sequence

import torch
import torch.distributed as dist
from diffusers import AutoencoderKLWan

from animate.model.vae import in_range
from animate.parallel.rows import SharedRows, WholeRows
from animate.parallel.vae_bands import BandedVaeStream
from animate.parallel.vae_stream import VaeStream

STRIDE = 8
# Latent frames at a time: two are 3% faster and take 4 GiB more at 1280x720.
PIECE = 1
# Videos of one number whose latents are kept: at 1280x720x77 they are 18 MB each.
MOST_KNOWN = 4


class SplitCodec:
    """`AutoencoderKLWan` with standardised latents, on all ranks; see `VideoCodec`.

    Every rank passes the same tensors and gets the whole result. `dtype` is the arithmetic's. The
    latents of a video that is one number, such as what stands for nothing, are kept. `in_bands`: a
    rank that has whole frames takes them in bands, which is slower and needs less memory.
    """

    def __init__(
        self,
        vae: AutoencoderKLWan,
        ranks: int = 1,
        compiled: bool = False,
        in_bands: bool = False,
    ):
        vae.eval().requires_grad_(False)
        self._ranks = ranks
        self._stream = (BandedVaeStream if in_bands else VaeStream)(vae, compiled)
        self._dtype, self._device = vae.dtype, vae.device
        self._mean = torch.tensor(vae.config.latents_mean, device=vae.device)
        self._std = torch.tensor(vae.config.latents_std, device=vae.device)
        self._known: dict[tuple, torch.Tensor] = {}

    def encode(self, *parts: torch.Tensor) -> torch.Tensor:
        """Return latents (1, 16, 1 + F // 4, h / 8, w / 8) fp32 of a video's parts."""
        latents = self._encode(parts, self._rows(parts[0].shape[3] // STRIDE))
        self._release()
        return latents

    def encode_both(
        self, one: Sequence[torch.Tensor], other: Sequence[torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the latents of two videos of one shape; of two ranks, each encodes one of them.

        So they tell each other nothing until both are done. More ranks share the rows of both.
        """
        if not self._shared or self._ranks != 2:
            rows = self._rows(one[0].shape[3] // STRIDE)
            both = self._encode(one, rows), self._encode(other, rows)
        else:
            own = self._encode((one, other)[dist.get_rank()], WholeRows()).contiguous()
            both = torch.empty_like(own), torch.empty_like(own)
            dist.all_gather(list(both), own)
        self._release()
        return both

    def _encode(self, parts: Sequence[torch.Tensor], rows: WholeRows) -> torch.Tensor:
        if len(parts) > 1 or (number := _only_number(parts[0])) is None:
            return self._computed(parts, rows)
        # The rows are part of it: a kernel may round by how many there are.
        key = type(rows), parts[0].shape, number
        if key not in self._known:
            while len(self._known) >= MOST_KNOWN:
                del self._known[next(iter(self._known))]
            self._known[key] = self._computed(parts, rows).cpu()
        return self._known[key].to(self._device)

    def _computed(self, parts: Sequence[torch.Tensor], rows: WholeRows) -> torch.Tensor:
        own = torch.cat([self._taken(part, rows) for part in parts]).contiguous()
        latents = rows.gather(self._stream.encode(own, rows, PIECE).float(), 1)
        return ((latents - self._mean) / self._std).permute(3, 0, 1, 2)[None]

    def decode(self, latents: torch.Tensor) -> Iterator[torch.Tensor]:
        """Yield the video of latents, (1, 3, n, h, w) at a time, clamped to -1..1, fp32."""
        rows = self._rows(latents.shape[3])
        self._release()
        own = rows.take(latents[0], 2).permute(1, 2, 3, 0).float() * self._std + self._mean
        own = own.to(self._dtype).contiguous()
        for part in self._stream.decode(own, rows, PIECE):
            yield rows.gather(part.clamp(-1, 1), 1).permute(3, 0, 1, 2)[None].float()
        self._release()

    def _taken(self, part: torch.Tensor, rows: WholeRows) -> torch.Tensor:
        """Return this rank's rows of a video's part as (n, h, w, 3), in range.

        They travel as they are: pixels are a quarter of floats, which the GPU makes of them.
        """
        own = rows.take(part[0], 2, STRIDE).permute(1, 2, 3, 0).to(self._device)
        return in_range(own).to(self._dtype)

    def _release(self) -> None:
        """Give back what the allocator keeps: the transformer asks for other sizes than the VAE."""
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    @property
    def _shared(self) -> bool:
        return self._ranks > 1 and dist.is_initialized()

    def _rows(self, units: int) -> WholeRows:
        return SharedRows(units) if self._shared else WholeRows()


def _only_number(part: torch.Tensor) -> float | None:
    """Return the number that a part is an expansion of, None where it has memory for more."""
    one = part.untyped_storage().nbytes() == part.element_size()
    return part.flatten()[0].item() if one else None
