"""How ranks give each other tensors while they compute: as messages, or by direct copies.

Messages go through NCCL or gloo, among any ranks. NCCL's kernels take multiprocessors from what is
computed at the same time. Between GPUs of one machine that NVLink joins, copy engines fetch from
the other's memory and leave them to it.
"""

import importlib
import os
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
import torch.distributed as dist

Group = dist.ProcessGroup | None
Outbox = dict[int, torch.Tensor]
Wait = Callable[[], None]

# Milliseconds until a rank gives up on another, as with NCCL.
PATIENCE = 600_000
# What private parts of PyTorch raise when they are missing, changed or refused.
UNUSABLE = (ImportError, AttributeError, TypeError, IndexError, RuntimeError)


class Exchange(Protocol):
    """Gives each rank of a group a tensor and gets one of each, while this rank goes on.

    All ranks call the same methods in the same order. A slot's outbox may be filled again once this
    rank has received what the others sent after they had received its last content.
    """

    @property
    def held(self) -> int:
        """Bytes of GPU memory that are not PyTorch's allocator's."""

    def outbox(self, slot: int, shape: tuple[int, ...], like: torch.Tensor) -> Outbox:
        """Return room for what each other rank is to get, of this shape and the type of `like`."""

    def start(self, slot: int, outbox: Outbox, inbox: torch.Tensor) -> Wait:
        """Start to exchange the slot's filled outbox for the others' rows of `inbox` (ranks, ...).

        Call what is returned once: what is done on the GPU after it finds the inbox filled.
        """


class Messages:
    """Sends through the group's backend."""

    def __init__(self, group: Group = None):
        self._group = group
        self._ranks, self._rank = dist.get_world_size(group), dist.get_rank(group)
        self._received: dict[int, torch.cuda.Event] = {}

    @property
    def held(self) -> int:
        """None: what travels is the allocator's."""
        return 0

    def outbox(self, slot: int, shape: tuple[int, ...], like: torch.Tensor) -> Outbox:
        """Return new tensors."""
        return {rank: like.new_empty(shape) for rank in _others(self._rank, self._ranks)}

    def start(self, slot: int, outbox: Outbox, inbox: torch.Tensor) -> Wait:
        """Start to send and receive; see `Exchange`."""
        # PyTorch frees what was exchanged once it is done: a CPU that is far ahead fills the GPU.
        if slot in self._received:
            self._received.pop(slot).synchronize()
        operations = []
        for rank, sent in outbox.items():
            to = {"group": self._group, "group_peer": rank}
            operations.append(dist.P2POp(dist.isend, sent, **to))
            operations.append(dist.P2POp(dist.irecv, inbox[rank], **to))
        works = dist.batch_isend_irecv(operations) if operations else []

        def wait() -> None:
            for work in works:
                work.wait()
            outbox.clear()
            if inbox.is_cuda:
                self._received[slot] = torch.cuda.Event(blocking=True)
                self._received[slot].record()

        return wait


class DirectCopies:
    """Has copy engines fetch from outboxes in memory that all ranks of a machine can read."""

    def __init__(self, device: torch.device, group: Group = None):
        self._group = group or dist.group.WORLD
        self._ranks, self._rank = dist.get_world_size(group), dist.get_rank(group)
        # First in line, or a signal waits until attention leaves the GPU.
        self._stream = torch.cuda.Stream(device, priority=-1)
        self._boxes: dict[tuple[int, tuple[int, ...], torch.dtype], _Box] = {}

    @property
    def held(self) -> int:
        """Bytes of the outboxes."""
        return sum(out.nbytes for box in self._boxes.values() for out in box.outbox.values())

    def outbox(self, slot: int, shape: tuple[int, ...], like: torch.Tensor) -> Outbox:
        """Return the slot's tensors, the same in every call."""
        key = slot, tuple(shape), like.dtype
        if key not in self._boxes:
            self._boxes[key] = self._make_box((self._ranks - 1, *shape), like)
        return self._boxes[key].outbox

    def start(self, slot: int, outbox: Outbox, inbox: torch.Tensor) -> Wait:
        """Start to signal and to copy; see `Exchange`."""
        box = self._boxes[slot, tuple(inbox.shape[1:]), inbox.dtype]
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            for rank in outbox:
                box.signals.put_signal(rank, timeout_ms=PATIENCE)
            for rank, theirs in box.theirs.items():
                box.signals.wait_signal(rank, timeout_ms=PATIENCE)
                inbox[rank].copy_(theirs)
        fetched = self._stream.record_event()
        return lambda: torch.cuda.current_stream().wait_event(fetched)

    def _make_box(self, shape: tuple[int, ...], like: torch.Tensor) -> "_Box":
        symmetric = importlib.import_module("torch.distributed._symmetric_memory")
        outbox = symmetric.empty(shape, dtype=like.dtype, device=like.device)
        # All ranks have written their signals' first zeros before any rank can signal another.
        torch.cuda.synchronize()
        signals = symmetric.rendezvous(outbox, self._group)
        others, theirs = _others(self._rank, self._ranks), {}
        for rank in others:
            place = _others(rank, self._ranks).index(self._rank)
            theirs[rank] = signals.get_buffer(rank, shape, like.dtype)[place]
        return _Box(dict(zip(others, outbox, strict=True)), theirs, signals)


class _Box(NamedTuple):
    """A slot: what this rank has for the others, they for this one, and how to say it is there."""

    outbox: Outbox
    theirs: Outbox
    signals: Any


def choose_exchange(device: torch.device, group: Group = None) -> tuple[str, Exchange]:
    """Return the name of the fastest exchange that all ranks can use, and the exchange."""
    if _on_every_rank(_is_linked(device, dist.get_world_size(group)), group):
        # Copies need no multicast, which PyTorch fails to set up on some machines.
        os.environ.setdefault("TORCH_SYMM_MEM_DISABLE_MULTICAST", "1")
        copies = DirectCopies(device, group)
        if _on_every_rank(_arrives(copies, device, group), group):
            return "copy engines", copies
    return dist.get_backend(group), Messages(group)


def _is_linked(device: torch.device, ranks: int) -> bool:
    """Whether NVLink joins this rank's GPU and those of all others, on one machine."""
    if device.type != "cuda" or int(os.environ.get("LOCAL_WORLD_SIZE", 0)) != ranks:
        return False
    try:
        kind = torch._C._autograd.DeviceType.CUDA
        links = torch._C._distributed_c10d._detect_dma_connectivity(kind, "nvlink").matrix
        return all(links[device.index][other] for other in _others(device.index, ranks))
    except UNUSABLE:
        return False


def _arrives(exchange: Exchange, device: torch.device, group: Group) -> bool:
    """Use each of two slots twice; False when that fails or brings something else than was sent."""
    ranks, rank = dist.get_world_size(group), dist.get_rank(group)
    everyone = torch.arange(ranks, device=device)
    right = True
    try:
        for turn in range(4):
            inbox, slot = everyone.clone(), turn % 2
            outbox = exchange.outbox(slot, (), inbox)
            for other, sent in outbox.items():
                sent.fill_(ranks * rank + other + turn)
            inbox[rank] = ranks * rank + rank + turn
            exchange.start(slot, outbox, inbox)()
            # Not the end: the others go on, too.
            right &= torch.equal(inbox, ranks * everyone + rank + turn)
    except UNUSABLE:
        return False
    return right


def _on_every_rank(flag: bool, group: Group) -> bool:
    flags = [None] * dist.get_world_size(group)
    dist.all_gather_object(flags, flag, group)
    return all(flags)


def _others(rank: int, ranks: int) -> list[int]:
    """Return the other ranks, the next one first: each rank turns to another one at a time."""
    return [(rank + step) % ranks for step in range(1, ranks)]
