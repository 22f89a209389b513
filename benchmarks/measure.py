"""Random full-size models, inputs of a given video size, and how a call is timed."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLWan, WanAnimateTransformer3DModel

from animate.model.checkpoint import FP32_PARTS
from animate.model.tiny import TRANSFORMER, randomise
from animate.model.transformer import TEXT_TOKENS, SamplingTransformer
from animate.parallel.vae_split import SplitCodec
from animate.sampling.conditions import SegmentFrames
from animate.sampling.loop import SegmentSampler
from animate.sampling.settings import SamplingSettings

FULL = {"added_kv_proj_dim": 5120}
GIB = 2**30
# A sentence or two; the default prompt has about ten.
PROMPT_TOKENS = 40


@dataclass(frozen=True)
class Video:
    """The size of a segment: pixels and frames."""

    width: int
    height: int
    frames: int

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """Latent frames (the reference's first), height and width."""
        return self.frames // 4 + 2, self.height // 8, self.width // 8

    @property
    def tokens(self) -> int:
        """Tokens of the transformer."""
        t, h, w = self.latent_shape
        return t * h * w // 4


def random_transformer(tiny: bool, device: torch.device) -> WanAnimateTransformer3DModel:
    """Return a transformer with random weights, bf16 on a GPU, where fp32 parts stay fp32."""
    config = TRANSFORMER | {"motion_encoder_size": 32} if tiny else FULL
    with device:
        model = WanAnimateTransformer3DModel(**config)
    if tiny:
        randomise(model, 0)
    for name, parameter in model.named_parameters():
        if device.type == "cuda" and not FP32_PARTS.search(name):
            parameter.data = parameter.data.bfloat16()
    return model.eval().requires_grad_(False)


def random_vae(tiny: bool, device: torch.device) -> AutoencoderKLWan:
    """Return a VAE with random weights, bf16 on a GPU."""
    vae = AutoencoderKLWan(**({"base_dim": 8, "num_res_blocks": 1} if tiny else {}))
    randomise(vae, 0)
    return vae.to(device, torch.bfloat16 if device.type == "cuda" else torch.float32).eval()


def random_inputs(
    video: Video, tiny: bool, device: torch.device, prompt_tokens: int = PROMPT_TOKENS
) -> dict[str, torch.Tensor]:
    """Return the arguments of `segment_constants`, and `latents`."""
    t, h, w = video.latent_shape
    generator = torch.Generator(device).manual_seed(0)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(shape, device=device, generator=generator)

    image, text = (TRANSFORMER["image_dim"], TRANSFORMER["text_dim"]) if tiny else (1280, 4096)
    size = 32 if tiny else 512
    return {
        "latents": noise(1, 16, t, h, w),
        "condition_latents": noise(1, 20, t, h, w),
        "pose_latents": noise(1, 16, t - 1, h, w),
        "face": noise(1, 3, video.frames, size, size).tanh(),
        "image_embeds": noise(1, 257, image),
        "prompt_embeds": noise(1, prompt_tokens, text),
    }


def random_painting(
    model: SamplingTransformer, codec: SplitCodec, video: Video, steps: int, tiny: bool
) -> Callable[[], torch.Tensor]:
    """Return a function that samples a segment of random frames: encoded, denoised, decoded."""
    inputs = random_inputs(video, tiny, torch.device("cpu"))
    generator = np.random.default_rng(0)
    face = 32 if tiny else 512
    frames = SegmentFrames(
        generator.integers(0, 256, (video.frames, video.height, video.width, 3), np.uint8),
        generator.integers(0, 256, (video.frames, face, face, 3), np.uint8),
    )
    settings = SamplingSettings(segment_frames=video.frames, steps=steps)
    reference = torch.zeros(1, 3, video.height, video.width)
    painter = SegmentSampler(
        model, codec, settings, reference, inputs["image_embeds"], inputs["prompt_embeds"]
    )
    return lambda: painter.sample(frames, None, inputs["latents"])


@torch.inference_mode()
def make_step(model: SamplingTransformer, inputs: dict[str, torch.Tensor]) -> Callable:
    """Return a function that runs one denoising step, its segment's constants computed."""
    given = {name: value for name, value in inputs.items() if name != "latents"}
    constants = model.segment_constants(**given)
    time_embedding = model.time_embedding(torch.tensor([700.0]))
    return lambda: model(inputs["latents"], time_embedding, constants)


def diffusers_step(model: WanAnimateTransformer3DModel, inputs: dict[str, torch.Tensor]):
    """Return a function that runs diffusers' own forward on the same inputs."""
    dtype = model.patch_embedding.weight.dtype
    noisy = torch.cat((inputs["latents"], inputs["condition_latents"]), dim=1)
    prompt = inputs["prompt_embeds"]
    arguments = {
        "hidden_states": noisy,
        "encoder_hidden_states": F.pad(prompt, (0, 0, 0, TEXT_TOKENS - prompt.shape[1])),
        "encoder_hidden_states_image": inputs["image_embeds"],
        "pose_hidden_states": inputs["pose_latents"],
        "face_pixel_values": inputs["face"],
    }
    arguments = {name: value.to(dtype) for name, value in arguments.items()}
    timestep = torch.tensor([700], device=noisy.device)
    return lambda: model(timestep=timestep, **arguments).sample


@dataclass(frozen=True)
class Timing:
    """Seconds of the first call, the median of the others, and the peak of allocated GiB."""

    first: float
    median: float
    peak: float


@torch.inference_mode()
def timed(call: Callable, repeats: int = 2) -> tuple[Timing, torch.Tensor]:
    """Return how long `call` takes, warmed up once, and its last result."""
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    seconds = []
    for _ in range(repeats + 1):
        result = None
        started = time.perf_counter()
        result = call()
        if cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    peak = torch.cuda.max_memory_allocated() / GIB if cuda else 0.0
    return Timing(seconds[0], statistics.median(seconds[1:] or seconds), peak), result


def print_reserved(device: torch.device) -> None:
    """Print what the allocator held at most, and what the device holds now."""
    if device.type != "cuda":
        return
    free, total = torch.cuda.mem_get_info()
    reserved = torch.cuda.max_memory_reserved() / GIB
    print(f"    reserved {reserved:.1f} GiB, in use {(total - free) / GIB:.1f} GiB", flush=True)


def difference(result: torch.Tensor, expected: torch.Tensor) -> float:
    """Return the norm of the difference over the norm of what is expected."""
    return float((result.float() - expected.float()).norm() / expected.float().norm())
