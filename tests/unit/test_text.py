"""Prompts longer than what the model reads."""

import pytest
import torch

from animate.demo.model import write_tiny_model
from animate.model.text import encode_prompt, tokenize

# With the mark of a word's beginning and the end mark, the most that is read.
FULL = "b" + "a" * 509


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    write_tiny_model(folder, face_size=32)
    return folder


def test_a_long_prompt_is_read_to_its_last_token_and_the_end_mark(model):
    warnings = []
    assert len(tokenize(model / "tokenizer", FULL)) == 512
    whole = encode_prompt(model, FULL, warnings.append)
    assert len(whole) == 512 and not warnings
    assert torch.equal(encode_prompt(model, FULL + "a" * 90, warnings.append), whole)
    (line,) = warnings
    assert line.startswith(f"prompt '{FULL[:40]}...' has 602 tokens, but the model reads 512: ")


def test_the_models_own_tokenizer_decides(model):
    """A character outside its vocabulary is several tokens."""
    warnings = []
    assert len(encode_prompt(model, "舞" * 200, warnings.append)) == 512
    assert "has 602 tokens" in warnings[0]
