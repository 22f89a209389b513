"""The original checkpoints' parameter names and what diffusers and transformers call them.

A table maps each original name to the new names. Two or three new names mean that the tensor is
split evenly along its first axis; an empty tuple, that the parameter is not used for sampling.
"""

from collections.abc import Iterable
from itertools import count

Names = dict[str, tuple[str, ...]]

TRANSFORMER_LAYERS = {
    "patch_embedding": "patch_embedding",
    "pose_patch_embedding": "pose_patch_embedding",
    "text_embedding.0": "condition_embedder.text_embedder.linear_1",
    "text_embedding.2": "condition_embedder.text_embedder.linear_2",
    "time_embedding.0": "condition_embedder.time_embedder.linear_1",
    "time_embedding.2": "condition_embedder.time_embedder.linear_2",
    "time_projection.1": "condition_embedder.time_proj",
    "img_emb.proj.0": "condition_embedder.image_embedder.norm1",
    "img_emb.proj.1": "condition_embedder.image_embedder.ff.net.0.proj",
    "img_emb.proj.3": "condition_embedder.image_embedder.ff.net.2",
    "img_emb.proj.4": "condition_embedder.image_embedder.norm2",
    "head.head": "proj_out",
    "face_encoder.conv1_local.conv": "face_encoder.conv1_local",
    "face_encoder.conv2.conv": "face_encoder.conv2",
    "face_encoder.conv3.conv": "face_encoder.conv3",
    "face_encoder.out_proj": "face_encoder.out_proj",
}
BLOCK_LAYERS = {
    **{
        f"{old}.{a}": f"{new}.{b}"
        for old, new in (("self_attn", "attn1"), ("cross_attn", "attn2"))
        for a, b in (("q", "to_q"), ("k", "to_k"), ("v", "to_v"), ("o", "to_out.0"))
    },
    "cross_attn.k_img": "attn2.add_k_proj",
    "cross_attn.v_img": "attn2.add_v_proj",
    "norm3": "norm2",
    "ffn.0": "ffn.net.0.proj",
    "ffn.2": "ffn.net.2",
}
BLOCK_WEIGHTS = {
    "self_attn.norm_q.weight": "attn1.norm_q.weight",
    "self_attn.norm_k.weight": "attn1.norm_k.weight",
    "cross_attn.norm_q.weight": "attn2.norm_q.weight",
    "cross_attn.norm_k.weight": "attn2.norm_k.weight",
    "cross_attn.norm_k_img.weight": "attn2.norm_added_k.weight",
    "modulation": "scale_shift_table",
}
# Wan-Animate-2's layers in diffusers, most of which keep their names.
DRIVEN_LAYERS = (
    *(f"text_embedding.{n}" for n in (0, 2)),
    *(f"time_embedding.{n}" for n in (0, 2)),
    "time_projection.1",
    *(f"img_emb.proj.{n}" for n in (0, 1, 3, 4)),
)
DRIVEN_BLOCK_LAYERS = {
    **{
        f"{attention}.{a}": f"{attention}.{b}"
        for attention in ("self_attn", "cross_attn")
        for a, b in (("q", "to_q"), ("k", "to_k"), ("v", "to_v"), ("o", "to_out.0"))
    },
    "cross_attn.k_img": "cross_attn.add_k_proj",
    "cross_attn.v_img": "cross_attn.add_v_proj",
    **{name: name for name in ("norm3", "ffn.0", "ffn.2")},
}
DRIVEN_BLOCK_WEIGHTS = {
    **{
        f"{attention}.{norm}.weight": f"{attention}.{norm}.weight"
        for attention in ("self_attn", "cross_attn")
        for norm in ("norm_q", "norm_k")
    },
    "cross_attn.norm_k_img.weight": "cross_attn.norm_added_k.weight",
    "modulation": "modulation",
}


def layer_count(names: Iterable[str], prefix: str) -> int:
    """Return how many layers names tell of, from number 0 on, as `{prefix}{number}.`."""
    numbers = {n.removeprefix(prefix).split(".")[0] for n in names if n.startswith(prefix)}
    return next(n for n in count() if str(n) not in numbers)


def transformer_names(num_layers: int, num_face_blocks: int) -> Names:
    """Return the names of `WanAnimateModel`'s parameters in `WanAnimateTransformer3DModel`."""
    names = {"head.modulation": "scale_shift_table"}
    names["face_encoder.padding_tokens"] = "face_encoder.padding_tokens"
    names |= _weights_and_biases(TRANSFORMER_LAYERS)
    for n in range(num_layers):
        block = {**_weights_and_biases(BLOCK_LAYERS), **BLOCK_WEIGHTS}
        names |= {f"blocks.{n}.{old}": f"blocks.{n}.{new}" for old, new in block.items()}
    names |= _motion_encoder_names()
    table = {old: (new,) for old, new in names.items()}
    for n in range(num_face_blocks):
        table |= _face_block_names(f"face_adapter.fuser_blocks.{n}", f"face_adapter.{n}")
    # The blur kernels are constants of the architecture; some checkpoints store them.
    for n in range(1, 8):
        table[f"motion_encoder.enc.net_app.convs.{n}.conv2.0.kernel"] = ()
        table[f"motion_encoder.enc.net_app.convs.{n}.skip.0.kernel"] = ()
    return table


def driven_names(num_layers: int) -> Names:
    """Return the names of Wan-Animate-2's parameters in `WanAnimate2Transformer3DModel`.

    Only attention is called otherwise there. The published file wraps each block in another one,
    `blocks.N.block.`; files of other programs and LoRAs do not.
    """
    layers = ("patch_embedding", "head.head", *DRIVEN_LAYERS)
    names = {name: name for name in _weights_and_biases({layer: layer for layer in layers})}
    names["head.modulation"] = "head.modulation"
    block = {**_weights_and_biases(DRIVEN_BLOCK_LAYERS), **DRIVEN_BLOCK_WEIGHTS}
    for n in range(num_layers):
        for wrapped in ("", "block."):
            names |= {
                f"blocks.{n}.{wrapped}{old}": f"blocks.{n}.{new}" for old, new in block.items()
            }
    return {old: (new,) for old, new in names.items()}


def text_encoder_names(num_layers: int) -> Names:
    """Return the names of the original UMT5 encoder's parameters in `UMT5EncoderModel`."""
    names = {"token_embedding.weight": "shared.weight"}
    names["norm.weight"] = "encoder.final_layer_norm.weight"
    for n in range(num_layers):
        attention, feed_forward = (f"encoder.block.{n}.layer.{i}" for i in (0, 1))
        names |= {
            f"blocks.{n}.attn.{x}.weight": f"{attention}.SelfAttention.{x}.weight" for x in "qkvo"
        }
        names |= {
            f"blocks.{n}.norm1.weight": f"{attention}.layer_norm.weight",
            f"blocks.{n}.pos_embedding.embedding.weight": (
                f"{attention}.SelfAttention.relative_attention_bias.weight"
            ),
            f"blocks.{n}.norm2.weight": f"{feed_forward}.layer_norm.weight",
            f"blocks.{n}.ffn.gate.0.weight": f"{feed_forward}.DenseReluDense.wi_0.weight",
            f"blocks.{n}.ffn.fc1.weight": f"{feed_forward}.DenseReluDense.wi_1.weight",
            f"blocks.{n}.ffn.fc2.weight": f"{feed_forward}.DenseReluDense.wo.weight",
        }
    return {old: (new,) for old, new in names.items()}


def image_encoder_names(num_layers: int) -> Names:
    """Return the names of the original CLIP's image tower in `CLIPVisionModel`."""
    table: Names = {
        "cls_embedding": ("embeddings.class_embedding",),
        "pos_embedding": ("embeddings.position_embedding.weight",),
        "patch_embedding.weight": ("embeddings.patch_embedding.weight",),
        "head": (),
    }
    layers = {"pre_norm": "pre_layrnorm", "post_norm": "post_layernorm"}
    for n in range(num_layers):
        new = f"encoder.layers.{n}"
        layers |= {
            f"transformer.{n}.norm1": f"{new}.layer_norm1",
            f"transformer.{n}.attn.proj": f"{new}.self_attn.out_proj",
            f"transformer.{n}.norm2": f"{new}.layer_norm2",
            f"transformer.{n}.mlp.0": f"{new}.mlp.fc1",
            f"transformer.{n}.mlp.2": f"{new}.mlp.fc2",
        }
        for kind in ("weight", "bias"):
            table[f"transformer.{n}.attn.to_qkv.{kind}"] = tuple(
                f"{new}.self_attn.{x}_proj.{kind}" for x in "qkv"
            )
    return table | {old: (new,) for old, new in _weights_and_biases(layers).items()}


def vae_names() -> Names:
    """Return the names of the original Wan 2.1 VAE's parameters in `AutoencoderKLWan`."""
    names: dict[str, str] = {}
    layers = {"conv1": "quant_conv", "conv2": "post_quant_conv"}
    for part in ("encoder", "decoder"):
        layers[f"{part}.conv1"] = f"{part}.conv_in"
        layers[f"{part}.head.2"] = f"{part}.conv_out"
        names[f"{part}.head.0.gamma"] = f"{part}.norm_out.gamma"
        old, new = f"{part}.middle.1", f"{part}.mid_block.attentions.0"
        names[f"{old}.norm.gamma"] = f"{new}.norm.gamma"
        layers |= {f"{old}.{x}": f"{new}.{x}" for x in ("to_qkv", "proj")}
        for i, j in ((0, 0), (2, 1)):
            names |= _residual_names(f"{part}.middle.{i}", f"{part}.mid_block.resnets.{j}")
    for i in range(11):
        old, new = f"encoder.downsamples.{i}", f"encoder.down_blocks.{i}"
        names |= _residual_names(old, new) if i % 3 < 2 else {}
        layers |= {f"{old}.{x}": f"{new}.{x}" for x in ("resample.1", "time_conv") if i % 3 == 2}
    for i in range(15):
        block, j = divmod(i, 4)
        old, new = f"decoder.upsamples.{i}", f"decoder.up_blocks.{block}"
        names |= _residual_names(old, f"{new}.resnets.{j}") if j < 3 else {}
        up = f"{new}.upsamplers.0"
        layers |= {f"{old}.{x}": f"{up}.{x}" for x in ("resample.1", "time_conv") if j == 3}
    return {old: (new,) for old, new in (names | _weights_and_biases(layers)).items()}


def _weights_and_biases(layers: dict[str, str]) -> dict[str, str]:
    return {
        f"{old}.{kind}": f"{new}.{kind}"
        for old, new in layers.items()
        for kind in ("weight", "bias")
    }


def _motion_encoder_names() -> dict[str, str]:
    old, new = "motion_encoder.enc.net_app.convs", "motion_encoder"
    names = {
        "motion_encoder.dec.direction.weight": f"{new}.motion_synthesis_weight",
        f"{old}.0.0.weight": f"{new}.conv_in.weight",
        f"{old}.0.1.bias": f"{new}.conv_in.act_fn.bias",
        f"{old}.8.weight": f"{new}.conv_out.weight",
    }
    for n in range(1, 8):
        block = f"{new}.res_blocks.{n - 1}"
        names |= {
            f"{old}.{n}.conv1.0.weight": f"{block}.conv1.weight",
            f"{old}.{n}.conv1.1.bias": f"{block}.conv1.act_fn.bias",
            f"{old}.{n}.conv2.1.weight": f"{block}.conv2.weight",
            f"{old}.{n}.conv2.2.bias": f"{block}.conv2.act_fn.bias",
            f"{old}.{n}.skip.1.weight": f"{block}.conv_skip.weight",
        }
    linears = {f"motion_encoder.enc.fc.{n}": f"{new}.motion_network.{n}" for n in range(5)}
    return names | _weights_and_biases(linears)


def _face_block_names(old: str, new: str) -> Names:
    table: Names = {
        f"{old}.q_norm.weight": (f"{new}.norm_q.weight",),
        f"{old}.k_norm.weight": (f"{new}.norm_k.weight",),
    }
    for kind in ("weight", "bias"):
        table[f"{old}.linear1_kv.{kind}"] = (f"{new}.to_k.{kind}", f"{new}.to_v.{kind}")
        table[f"{old}.linear1_q.{kind}"] = (f"{new}.to_q.{kind}",)
        table[f"{old}.linear2.{kind}"] = (f"{new}.to_out.{kind}",)
    return table


def _residual_names(old: str, new: str) -> dict[str, str]:
    layers = {f"{old}.residual.2": f"{new}.conv1", f"{old}.residual.6": f"{new}.conv2"}
    layers[f"{old}.shortcut"] = f"{new}.conv_shortcut"
    names = _weights_and_biases(layers)
    return names | {
        f"{old}.residual.0.gamma": f"{new}.norm1.gamma",
        f"{old}.residual.3.gamma": f"{new}.norm2.gamma",
    }
