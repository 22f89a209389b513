"""Which kernel attends in 8 bits: the first that is right on every rank, or a refusal."""

from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.util import find_spec

import torch

from animate.devices.world import ALONE, World
from animate.errors import ClipError
from animate.kernels.attention import first_working, relative_error
from animate.kernels.attention8.attention import HEAD_SIZE, Attention8
from animate.kernels.compile import missing_for_compiling
from animate.model.attention import partial_attention

ADA, HOPPER = (8, 9), (9, 0)
HOPPER_KERNEL, TRITON_KERNEL = "8-bit, Hopper", "8-bit, Triton"
INSTEAD = "set attention to exact"

# Batch, tokens and heads of the trial: many tiles, the last of them ragged.
TRIAL_SHAPE = (1, 2011, 2)
# What 8 bits cost there is 0.043; a wrong scale or order of tokens or a missing end, 0.11 and more.
TOLERANCE = 0.06

Kernels8 = dict[str, Callable[[], Attention8]]


def _kernel(module: str, name: str) -> Attention8:
    # Imported here because one takes NVIDIA's bindings, the other Triton.
    return Attention8(getattr(import_module(f"animate.kernels.attention8.{module}"), name)())


# By name, fastest first, for each compute capability.
TRITON: Kernels8 = {TRITON_KERNEL: partial(_kernel, "ada", "AdaKernel")}
KERNELS8: dict[tuple[int, int], Kernels8] = {
    ADA: TRITON,
    HOPPER: {HOPPER_KERNEL: partial(_kernel, "hopper", "HopperKernel")} | TRITON,
}


def refusal(device: torch.device, head_size: int) -> str | None:
    """Return in a sentence why this device cannot attend in 8 bits, None where it can.

    Asked before any weight is read; whether a kernel is right, its trial says.
    """
    if device.type != "cuda" or torch.version.hip is not None:
        return f"attention is 8bit, but this device is no NVIDIA GPU: {INSTEAD}"
    capability, gpu = torch.cuda.get_device_capability(device), torch.cuda.get_device_name(device)
    if capability not in KERNELS8:
        return (
            f"attention is 8bit, but {gpu} is neither of Ada nor of Hopper, for which its kernels"
            f" are: {INSTEAD}"
        )
    if head_size != HEAD_SIZE:
        return (
            f"attention is 8bit, but the model's heads have {head_size} channels and its kernels"
            f" take {HEAD_SIZE}: {INSTEAD}"
        )
    missing = missing_for_compiling()
    if missing and (capability != HOPPER or not _has_nvrtc()):
        return (
            f"attention is 8bit, but its kernel for {gpu} cannot be compiled: {missing}; or"
            f" {INSTEAD}"
        )
    return None


def _has_nvrtc() -> bool:
    """Whether there are NVIDIA's bindings, with which PyTorch brings NVRTC."""
    try:
        return find_spec("cuda.bindings.nvrtc") is not None
    except ModuleNotFoundError:
        return False


def choose_attention8(
    device: torch.device, world: World = ALONE, kernels: Kernels8 | None = None
) -> tuple[str, Attention8]:
    """Return the name and the first kernel that is right on every rank's GPU.

    `kernels` are builders by name, fastest first; by default those for the GPU.

    Raises:
        ClipError: there is none.
    """
    if kernels is None:
        kernels = KERNELS8[torch.cuda.get_device_capability(device)]
    # Of unlike GPUs, all try the same, or one would wait for the others' next trial for ever.
    able = world.gather([*kernels])
    kernels = {name: build for name, build in kernels.items() if all(name in own for own in able)}
    found = first_working(kernels, partial(trial_error, device), world, TOLERANCE)
    if found is None:
        raise ClipError(
            f"attention is 8bit, but no kernel for it ({', '.join(kernels)}) gives the right result"
            f" on every GPU of the clip: {INSTEAD}"
        )
    return found


def trial_error(device: torch.device, attend: Attention8) -> float:
    """Return the larger error of what a kernel finds in the trial's keys and of its sums."""
    given = [x.to(device) for x in trial_input()]
    expected = partial_attention(*(x.float() for x in given))
    return max(map(relative_error, attend.partial(*given), expected))


def trial_input() -> list[torch.Tensor]:
    """Return queries, keys and values of `TRIAL_SHAPE` in bf16, on the CPU.

    Tokens are of unlike size, so that a scale in another's place shows; so are the channels of the
    values. Some channels of the keys are large, and all have a mean far from zero.
    """
    batch, count, heads = TRIAL_SHAPE
    generator = torch.Generator().manual_seed(0)

    def noise(tokens: int) -> torch.Tensor:
        return torch.randn(batch, tokens, heads, HEAD_SIZE, generator=generator)

    token, channel = torch.arange(count)[:, None, None], torch.arange(HEAD_SIZE)
    q = noise(count) * 2.0 ** (token // 5 % 4 - 1.5)
    outliers = 1 + 3 * (channel % 37 == 0)
    k = noise(count) * 2.0 ** (token // 40 % 3 - 1) * outliers + 3 * noise(1)
    v = noise(count) * 2.0 ** (channel % 5 - 2) + noise(1)
    return [x.bfloat16() for x in (q, k, v)]
