"""Prompt embeddings from the UMT5 text encoder."""

import html
from pathlib import Path

import ftfy
import torch
from safetensors.torch import load_file, save_file

from animate.atomic import atomic_output
from animate.errors import ClipError
from animate.model.transformer import TEXT_TOKENS

EMBEDS = "prompt_embeds"


def clean_prompt(text: str) -> str:
    """Return `text` with broken encodings mended, HTML entities resolved and spaces made single."""
    text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return " ".join(text.split())


def encode_prompt(folder: Path, text: str, device: torch.device) -> torch.Tensor:
    """Return the embedding (tokens, width) of `text`, at most 512 tokens, without padding.

    The encoder runs in the type its weights are stored in (bf16 in the published model).
    """
    from transformers import AutoTokenizer, UMT5EncoderModel

    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    encoder = UMT5EncoderModel.from_pretrained(folder / "text_encoder", dtype="auto").to(device)
    tokens = tokenizer(
        clean_prompt(text),
        padding="max_length",
        max_length=TEXT_TOKENS,
        truncation=True,
        return_tensors="pt",
    ).to(device)
    with torch.inference_mode():
        embeds = encoder(tokens.input_ids, tokens.attention_mask).last_hidden_state[0]
    return embeds[: int(tokens.attention_mask.sum())].cpu()


def save_prompt(path: Path, embeds: torch.Tensor) -> None:
    """Write an embedding (tokens, width) as safetensors."""
    with atomic_output(path) as temporary:
        save_file({EMBEDS: embeds.contiguous()}, temporary)


def load_prompt(path: Path) -> torch.Tensor:
    """Return the embedding (1, tokens, width) that `save_prompt` wrote."""
    try:
        return load_file(path)[EMBEDS][None]
    except Exception as error:
        raise ClipError(
            f"prompt embedding {path} cannot be read ({error}): encode it again"
        ) from error
