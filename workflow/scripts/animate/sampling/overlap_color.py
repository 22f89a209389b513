"""A segment's colours, fitted to those of the frames that it starts from.

A segment paints the conditioning frames again, and nobody sees them. How they differ from what was
given says how the model and the VAE shift the colours of this segment, its new frames included.
Undoing that keeps a long clip at the colours of its first segment, with no step between segments.

One gain and one offset a channel are fitted, on the pixels as they are encoded: there the model and
the VAE compute and err, and equal distances look about equal, while linear light would count the
bright parts alone. Means of cells are compared, so that a sharper or blurred picture is no other
contrast, and their mean and deviation are made equal: a regression would take what differs by
chance for a lower contrast, in each segment anew. Cells that changed unlike the others have moved.

In replacement the background is the driving video's in each segment, so it cannot drift: there the
person's pixels alone are compared and changed, with a soft edge.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import torch
from torch.nn.functional import avg_pool2d

from animate.matte.grid import CELL
from animate.sampling.conditions.frames import MASK_THRESHOLD, Frames

# Most that one segment is changed: of the contrast, and of the whole range by the offset.
BOUND = 0.1
# Standard deviations from the common change, and a rounding, at which a cell has moved.
MOVED, ROUNDING = 3.0, 1 / 255
DEVIATIONS_OF_MEDIAN = 1.4826
# Below it a picture has no contrast that could be compared (range -1..1).
FLAT = 0.02
FEWEST_CELLS = 16
# Side of the square, in pixels, over which the change fades at the mask's edge.
SOFT = 17


@dataclass(frozen=True)
class ColorChange:
    """A gain and an offset for each channel, (3), of pixels in -1..1."""

    gain: torch.Tensor
    offset: torch.Tensor

    def of(self, video: torch.Tensor, share: torch.Tensor | None = None) -> torch.Tensor:
        """Return the video (1, 3, n, h, w) in -1..1 changed, by a share (1, 1, n, h, w) of it."""
        gain, offset = (x.view(1, 3, 1, 1, 1) for x in (self.gain, self.offset))
        changed = (video * gain + offset).clamp(-1, 1)
        return changed if share is None else torch.lerp(video, changed, share)


def match_overlap(
    pieces: Iterable[torch.Tensor], given: torch.Tensor, frames: Frames
) -> Iterator[torch.Tensor]:
    """Yield the pieces of a segment, (1, 3, n, h, w) in -1..1, with their colours fitted.

    The segment's first frames are `given` (1, 3, n, h, w) in -1..1 painted again. No more pieces
    are held than these need.
    """
    coming, painted, count = iter(pieces), [], given.shape[2]
    while sum(piece.shape[2] for piece in painted) < count:
        painted.append(next(coming))
    overlap = torch.cat(painted, dim=2)[:, :, :count]
    person = None if frames.mask is None else _is_person(frames, 0, count).to(overlap)
    change, first = fit_change(overlap, given.to(overlap), person), 0
    for piece in chain(painted, coming):
        last = first + piece.shape[2]
        soft = None if frames.mask is None else _soft(_is_person(frames, first, last).to(piece))
        yield change.of(piece, soft) if change else piece
        first = last


def fit_change(
    painted: torch.Tensor, given: torch.Tensor, person: torch.Tensor | None = None
) -> ColorChange | None:
    """Return what brings frames painted again to those given, both (1, 3, n, h, w) in -1..1.

    `person` (n, h, w) says with 1 which pixels count, if not all do. None where there is too little
    to compare.
    """
    here, wanted = _cell_means(painted), _cell_means(given)
    if person is not None:
        inside = avg_pool2d(person[:, None], CELL).flatten() > 0.5
        here, wanted = here[:, inside], wanted[:, inside]
    if here.shape[1] < FEWEST_CELLS:
        return None
    change = wanted - here
    away = (change - change.median(dim=1, keepdim=True).values).abs()
    spread = DEVIATIONS_OF_MEDIAN * away.median(dim=1, keepdim=True).values
    stayed = (away <= MOVED * spread + ROUNDING).all(dim=0)
    here, wanted = here[:, stayed], wanted[:, stayed]
    if here.shape[1] < FEWEST_CELLS:
        return None
    (mean, own), (wanted_mean, other) = (
        (x.mean(dim=1), x.std(dim=1, correction=0)) for x in (here, wanted)
    )
    comparable = (own > FLAT) & (other > FLAT)
    gain = torch.where(comparable, other / own.clamp(min=FLAT), 1).clamp(1 - BOUND, 1 + BOUND)
    shift = (wanted_mean - mean).clamp(-2 * BOUND, 2 * BOUND)
    return ColorChange(gain, mean + shift - gain * mean)


def _cell_means(video: torch.Tensor) -> torch.Tensor:
    """Return the mean colours (3, N) of the cells of a video (1, 3, n, h, w)."""
    # Laid out alike whatever gave it: sums round by the order.
    pictures = video[0].transpose(0, 1).contiguous()
    return avg_pool2d(pictures, CELL).transpose(0, 1).flatten(1)


def _is_person(frames: Frames, first: int, last: int) -> torch.Tensor:
    """Return 1 where the person's mask is, (n, h, w), of a segment's frames from first to last."""
    return torch.from_numpy(frames.mask[first:last, ..., 0] > MASK_THRESHOLD).float()


def _soft(person: torch.Tensor) -> torch.Tensor:
    """Return a mask (n, h, w) with soft edges, as shares (1, 1, n, h, w)."""
    blurred = avg_pool2d(person[:, None], SOFT, 1, SOFT // 2, count_include_pad=False)
    return blurred.transpose(0, 1)[None]
