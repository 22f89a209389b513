"""A model with Wan-Animate-2's layout and classes, tiny, with random weights: it makes noise."""

from pathlib import Path

from diffusers import WanAnimate2Transformer3DModel
from transformers import CLIPVisionModel

from animate.demo.model import (
    TEXT_WIDTH,
    image_config,
    write_part,
    write_text_encoder,
    write_vae,
)
from animate.weights.layout import write_model_index, write_schedule_and_processor

# The width of features is no setting of the transformer's class.
IMAGE_WIDTH = 1280
# The features are those before the last layer, which is not used.
IMAGE_LAYERS = 2
# More than nine blocks, so that one can be left out.
TRANSFORMER = {
    "dim": 64,
    "ffn_dim": 96,
    "freq_dim": 32,
    "text_dim": TEXT_WIDTH,
    "num_heads": 4,
    "num_layers": 11,
}


def write_tiny_2(folder: Path, seed: int = 0) -> None:
    """Write the model folder; the same seed gives the same bytes. The index is written last."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model_index.json").unlink(missing_ok=True)
    write_part(folder / "transformer", seed, lambda: WanAnimate2Transformer3DModel(**TRANSFORMER))
    write_vae(folder, seed)
    write_text_encoder(folder, seed)
    config = image_config(IMAGE_WIDTH, IMAGE_LAYERS)
    # Most of the folder's bytes, of which half as many do.
    write_part(folder / "image_encoder", seed, lambda: CLIPVisionModel(config).bfloat16())
    write_schedule_and_processor(folder)
    write_model_index(folder)
