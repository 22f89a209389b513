"""The published transformers' sizes, and where their weights go for a clip; without PyTorch."""

from animate.cluster.work import Work
from animate.config.models.declared import DRIVEN, POSED, Kind
from animate.parallel.plan import Plan, Sizes, plan_memory

BLOCKS, WIDTH, HIDDEN = 40, 5120, 13_824
# What a driver leaves of a card, and a desktop.
FREE_OF_CARD = 0.95
# Bytes of a block by precision, which both kinds have alike, and of what is added to every fifth
# block of those that read a pose.
BLOCK = {"bf16": 807_758_848, "fp8": 509_113_344}
FACE_ADAPTER, FACE_EVERY = {"bf16": 209_756_672, "fp8": 157_368_832}, 5
# Of all else; of a driving token's keys and values in all blocks, in bf16 always.
REST = {POSED: 619_599_592, DRIVEN: 852_405_888}
KEPT = {POSED: 0, DRIVEN: BLOCKS * 2 * WIDTH * 2}


def published_sizes(precision: str, kind: Kind = POSED) -> Sizes:
    """Return the sizes of the published transformer of a kind in "bf16" or "fp8"."""
    face = FACE_ADAPTER[precision] if kind == POSED else 0
    blocks = tuple(BLOCK[precision] + face * (n % FACE_EVERY == 0) for n in range(BLOCKS))
    return Sizes(blocks, REST[kind], WIDTH, HIDDEN, KEPT[kind])


def clip_plan(work: Work, gpus: int, memory: int) -> Plan:
    """Return what the sampler would plan with so many bytes free on each GPU.

    Raises:
        MemoryShort: see `plan_memory`.
    """
    sizes = published_sizes(work.precision, work.kind)
    lengths = work.tokens, work.pixels, max(work.segment_lengths)
    options = work.branches, work.vae_precision, (), work.attention
    return plan_memory(sizes, *lengths, memory, gpus, *options)
