"""Time the kernels of self-attention that run here, and measure their errors.

PYTHONPATH=workflow/scripts:tests python benchmarks/attention.py

Each is called as the sampler calls it: those in 8 bits with the rounding of queries, keys and
values. Errors are of inputs of several kinds, beside fp64 on some rows of queries.
"""

import argparse
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import torch
from measure import Table, timed

from animate.kernels.attention import KERNELS
from animate.kernels.attention8.choose import KERNELS8, refusal
from animate.model.attention import Attention, attention

SIZE, ROWS, SEED = 128, 256, 0
KINDS = ("normal", "queries x4", "outliers", "local")
COLUMNS = {"kernel": 34} | dict.fromkeys(("seconds", "TFLOP/s", *KINDS), 10)
Given = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def kernels_here(device: torch.device) -> Iterator[tuple[str, Attention]]:
    """Yield the name and function of each kernel that can be built on a device."""
    if device.type != "cuda":
        yield "plain", attention
        return
    builders: dict[str, Callable[[], Attention]] = dict(KERNELS)
    if refusal(device, SIZE) is None:
        builders |= KERNELS8[torch.cuda.get_device_capability(device)]
    for name, build in builders.items():
        with suppress(Exception):
            yield name, build()


def inputs(kind: str, tokens: int, heads: int, device: torch.device) -> Given:
    """Return queries, keys and values (1, tokens, heads, 128) in bf16."""
    generator = torch.Generator(device).manual_seed(SEED)

    def noise(count: int) -> torch.Tensor:
        return torch.randn(1, count, heads, SIZE, device=device, generator=generator)

    q, k, v = (noise(tokens) for _ in range(3))
    if kind == "queries x4":
        q = 4 * q
    if kind == "outliers":
        # Of some of the keys' channels, and all keys are far from zero.
        channels = 1 + 7 * (torch.arange(SIZE, device=device) % 37 == 0)
        q, k, v = 3 * q, k * channels + 3 * noise(1), v + 0.5
    if kind == "local":
        # Neighbours resemble each other, as with rotary positions: attention is sharp.
        walk = noise(tokens // 64 + 1).repeat_interleave(64, 1)[:, :tokens]
        q, k, v = 2 * walk + q, 2 * walk + k, walk + v
    return q.bfloat16(), k.bfloat16(), v.bfloat16()


def error(attend: Attention, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> float:
    """Return the relative error of attention on some rows of queries, spread over all."""
    rows = torch.linspace(0, q.shape[1] - 1, ROWS, device=q.device).long()
    found = attend(q, k, v)[0, rows].double()
    expected = torch.empty_like(found)
    for head in range(q.shape[2]):
        scores = q[0, rows, head].double() @ k[0, :, head].double().T * SIZE**-0.5
        expected[:, head] = scores.softmax(1) @ v[0, :, head].double()
    return float((found - expected).norm() / expected.norm())


@torch.inference_mode()
def main(arguments: argparse.Namespace) -> None:
    """Measure every kernel."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    print(f"{gpu}, torch {torch.__version__}, {arguments.tokens} tokens, {arguments.heads} heads")
    table = Table(COLUMNS)
    given = inputs("normal", arguments.tokens, arguments.heads, device)
    work = 4 * arguments.tokens**2 * arguments.heads * SIZE
    for name, attend in kernels_here(device):
        try:
            found, _ = timed(lambda attend=attend: attend(*given), arguments.repeats)
            errors = {
                kind: error(attend, *inputs(kind, arguments.error_tokens, 4, device))
                for kind in KINDS
            }
        except Exception as failure:
            print(f"{name}: {type(failure).__name__}")
            continue
        rate = work / found.seconds / 1e12
        table.add(name, seconds=found.seconds, **{"TFLOP/s": rate}, **errors)
    table.write(arguments.output, {"gpu": gpu})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=75_600, help="of a segment that is timed")
    parser.add_argument("--heads", type=int, default=40)
    parser.add_argument(
        "--error-tokens", type=int, default=20_011, help="where errors are measured"
    )
    parser.add_argument("--repeats", type=int, default=3, help="calls after the first")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    main(parser.parse_args())
