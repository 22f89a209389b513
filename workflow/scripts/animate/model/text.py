"""Prompt embeddings from the UMT5 text encoder."""

import html
import logging
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from animate.atomic import atomic_output
from animate.errors import ClipError
from animate.model.parts import load_part
from animate.model.wan import TEXT_TOKENS

EMBEDS = "prompt_embeds"
# Of a long prompt, in a warning.
SHOWN_LETTERS = 40


def clean_prompt(text: str) -> str:
    """Return `text` with broken encodings mended, HTML entities resolved and spaces made single."""
    # It takes a while to import, and who reads an embedding has no use for it.
    import ftfy

    text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return " ".join(text.split())


def tokenize(folder: Path, text: str) -> list[int]:
    """Return all token ids of a cleaned prompt, the last one the end mark.

    The stored tokenizer runs as it is: transformers 5 rebuilds T5 tokenizers without the byte
    fallback, and characters outside the vocabulary would all become one unknown token.
    """
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer.encode(text).ids


def encode_prompt(
    folder: Path,
    text: str,
    warn: Callable[[str], None] = logging.warning,
    clean: bool = True,
) -> torch.Tensor:
    """Return the embedding (tokens, width) of `text`, at most 512 tokens, without padding.

    `warn` gets a sentence when there are more. With `clean` the text is that of `clean_prompt`, as
    models were trained but for Wan-Animate-2, which gets it as it is.

    The encoder runs on the CPU, in the type that its `config.json` names (bf16 in the published
    model): one text takes no GPU's memory away from a clip. CPUs with and without bf16 units round
    differently, so another kind of machine gives a slightly different embedding.
    """
    from transformers import UMT5EncoderModel

    text = clean_prompt(text) if clean else text
    ids = tokenize(folder / "tokenizer", text)
    if len(ids) > TEXT_TOKENS:
        warn(
            f"prompt '{text[:SHOWN_LETTERS]}...' has {len(ids)} tokens, but the model reads"
            f" {TEXT_TOKENS}: the rest is not read, so make it shorter"
        )
        ids = [*ids[: TEXT_TOKENS - 1], ids[-1]]
    encoder = load_part(UMT5EncoderModel, folder / "text_encoder", "auto")
    with torch.inference_mode():
        return encoder(torch.tensor([ids])).last_hidden_state[0]


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
