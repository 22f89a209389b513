"""Tiny models of Wan-Animate-2 with random weights, and what diffusers makes of their inputs."""

import torch
from diffusers import WanAnimate2Transformer3DModel
from diffusers.models.transformers import transformer_wan_animate_2 as theirs

from animate.demo.model import TEXT_WIDTH, randomise
from animate.demo.tiny2 import IMAGE_WIDTH, TRANSFORMER
from animate.model.animate2.transformer import DrivenTransformer

TIMESTEP = 700.0


def tiny_weights(seed: int = 0, **config) -> WanAnimate2Transformer3DModel:
    """Return diffusers' model, fp32, on the CPU."""
    model = WanAnimate2Transformer3DModel(**TRANSFORMER | config).eval().requires_grad_(False)
    randomise(model, seed)
    return model


def tiny_inputs(
    grid: tuple[int, int, int], text_width: int = TEXT_WIDTH
) -> dict[str, torch.Tensor]:
    """Return random inputs of a segment whose driving video has that many tokens (T, H, W)."""
    frames, height, width = grid[0], 2 * grid[1], 2 * grid[2]
    generator = torch.Generator().manual_seed(1)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    return {
        "latents": noise(1, 16, frames + 1, height, width),
        "condition": noise(1, 20, frames + 1, height, width),
        "driving": noise(1, 16, frames, height, width),
        "image": noise(1, 257, IMAGE_WIDTH),
        "driving_image": noise(1, 257, IMAGE_WIDTH),
        "prompt": noise(1, 7, text_width),
        "negative_prompt": noise(1, 4, text_width),
        "driving_prompt": noise(1, 70, text_width),
    }


@torch.inference_mode()
def velocities(
    model: DrivenTransformer, given: dict, log_scale: float = 0.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the guided and the unguided velocity of a model."""
    driving = model.keep_driving(given["driving"], given["driving_image"], given["driving_prompt"])
    given_all = given["condition"], given["image"], given["prompt"], driving, log_scale
    guided = model.segment_constants(*given_all)
    unguided = model.unguided_constants(guided, given["negative_prompt"])
    time = model.time_embedding(torch.tensor([TIMESTEP]))
    return tuple(model(given["latents"], time, constants) for constants in (guided, unguided))


def their_velocities(
    weights: WanAnimate2Transformer3DModel, given: dict[str, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the guided and the unguided velocity (1, 16, 1 + T, h, w), as diffusers has them."""
    # Not compiled: flex attention's plain way is good enough for so few tokens.
    with torch.inference_mode(), torch.compiler.set_stance("force_eager"):
        cache = their_driving(weights, given)
        return tuple(their_velocity(weights, given, cache, unguided) for unguided in (False, True))


def their_driving(
    weights: WanAnimate2Transformer3DModel, given: dict[str, torch.Tensor]
) -> theirs.WanAnimate2KVCache:
    """Return what diffusers keeps of a driving segment."""
    grid, driving = _grid(given), given["driving"][0]
    cache = theirs.WanAnimate2KVCache(len(weights.blocks))
    weights(
        [driving],
        timestep=torch.tensor([999.0], device=driving.device),
        encoder_hidden_states=[given["driving_prompt"][0]],
        condition_latents=[torch.cat((torch.ones_like(driving[:4]), driving))],
        kv_cache=cache,
        kv_cache_mode="extract",
        seq_len=int(grid.prod()),
        encoder_hidden_states_image=given["driving_image"],
        offset_grid_sizes=grid,
    )
    return cache


def their_velocity(
    weights: WanAnimate2Transformer3DModel,
    given: dict[str, torch.Tensor],
    cache: theirs.WanAnimate2KVCache,
    unguided: bool = False,
) -> torch.Tensor:
    """Return diffusers' velocity, guided or unguided."""
    grid, latents = _grid(given), given["latents"][0]
    frames, height, width = given["driving"].shape[2:]
    (velocity,) = weights(
        [latents],
        timestep=torch.tensor([TIMESTEP], device=latents.device),
        encoder_hidden_states=[given["negative_prompt" if unguided else "prompt"][0]],
        condition_latents=[given["condition"][0]],
        kv_cache=cache,
        kv_cache_mode="cached",
        seq_len=int(grid.prod()) + int(grid[0, 1:].prod()),
        encoder_hidden_states_image=given["image"],
        reference_grid_sizes=grid,
        origin_len=4 * (frames - 1) + 1,
        origin_area=[8 * height, 8 * width],
        is_uncondtion=unguided,
    ).sample
    return velocity[None]


def _grid(given: dict[str, torch.Tensor]) -> torch.Tensor:
    frames, height, width = given["driving"].shape[2:]
    return torch.tensor([[frames, height // 2, width // 2]])


def driven_originals(weights: WanAnimate2Transformer3DModel, wrapped: bool) -> dict:
    """Return a model's tensors as the published file names them, or as others do, unwrapped."""
    parts = (
        (".to_q.", ".q."),
        (".to_k.", ".k."),
        (".to_v.", ".v."),
        (".to_out.0.", ".o."),
        (".add_k_proj.", ".k_img."),
        (".add_v_proj.", ".v_img."),
        (".norm_added_k.", ".norm_k_img."),
    )
    named = {}
    for name, tensor in weights.state_dict().items():
        for new, old in parts:
            name = name.replace(new, old)
        if wrapped and name.startswith("blocks."):
            blocks, number, rest = name.split(".", 2)
            name = f"{blocks}.{number}.block.{rest}"
        named[name] = tensor.clone()
    return named
