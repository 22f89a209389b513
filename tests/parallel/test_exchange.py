"""Which exchange is taken; what both bring is compared in test_ranks.py and test_gpus.py."""

from types import SimpleNamespace

import pytest
import torch

from animate.parallel import exchange

GPU, CPU = torch.device("cuda", 1), torch.device("cpu")
LINKED = ((0, 18), (18, 0))


def linked(monkeypatch, answer, device=GPU, ranks_here=2) -> bool:
    """Return whether rank 1 of 2 is linked, where PyTorch gives that answer on NVLink."""

    def detect(kind, connection):
        if isinstance(answer, Exception):
            raise answer
        return SimpleNamespace(matrix=answer)

    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(ranks_here))
    monkeypatch.setattr(torch._C._distributed_c10d, "_detect_dma_connectivity", detect)
    return exchange._is_linked(device, ranks=2)


def test_gpus_joined_by_nvlink_are_linked(monkeypatch):
    assert linked(monkeypatch, LINKED)


@pytest.mark.parametrize(
    "answer", [((0, 0), (0, 0)), ((0,),), RuntimeError("no NVML"), TypeError("changed")]
)
def test_others_are_not(monkeypatch, answer):
    assert not linked(monkeypatch, answer)


def test_ranks_on_cpus_or_several_machines_are_not_linked(monkeypatch):
    assert not linked(monkeypatch, LINKED, device=CPU)
    assert not linked(monkeypatch, LINKED, ranks_here=1)


def test_a_pytorch_that_cannot_tell_links_is_not_asked_for_copies(monkeypatch):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.delattr(torch._C._distributed_c10d, "_detect_dma_connectivity")
    assert not exchange._is_linked(GPU, ranks=2)
