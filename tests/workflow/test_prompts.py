"""Prompts reach the text encoder as they stand in the table, whatever they are made of."""

import csv
from hashlib import sha256
from itertools import combinations
from pathlib import Path

import pytest
import torch

from animate.model.text import encode_prompt, load_prompt
from project import ROWS

NASTY = (
    "-dance",
    "--output=x --text 'y'",
    'it\'s "{a}" {{b}} {params.text} {input:q} $HOME ${x} $(touch x) `touch x`;'
    " \\ % & * ? ~\nü 舞 -",
    "long " * 200,
)


@pytest.fixture(scope="module")
def encoded(finished, tmp_path_factory):
    """A project where the prompts of two clips have been encoded, and what Snakemake printed."""
    project = finished.copy_to(tmp_path_factory.mktemp("prompts") / "a project")
    columns = {name: ROWS[0][name] for name in ("video", "reference")}
    rows = [
        columns
        | {"clip": f"c{n}", "mode": "animate", "prompt": prompt, "negative_prompt": negative}
        for n, (prompt, negative) in enumerate(zip(NASTY[::2], NASTY[1::2], strict=True))
    ]
    with (project.folder / "config/clips.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    keys = [sha256(text.strip().encode()).hexdigest()[:16] for text in NASTY]
    paths = [f"results/.prompts/tiny/{key}.safetensors" for key in keys]
    return project, paths, project.snakemake(*paths).stdout


def test_each_prompt_is_encoded_as_it_is(encoded):
    project, paths, _ = encoded
    embeddings = []
    for text, path in zip(NASTY, paths, strict=True):
        embeddings.append(load_prompt(project.folder / path)[0])
        assert torch.equal(embeddings[-1], encode_prompt(project.folder / "models/tiny", text))
    assert not any(torch.equal(one, other) for one, other in combinations(embeddings, 2))
    assert not (project.folder / "x").exists()


def test_a_prompt_that_is_not_read_to_its_end_is_announced(encoded):
    project, paths, console = encoded
    warnings = [line for line in console.splitlines() if line.startswith("warning: ")]
    (line,) = warnings
    assert line.startswith("warning: prompt 'long long long long long long long long ...' has ")
    assert "tokens, but the model reads 512" in line
    folder = project.folder / "logs/prompt"
    logs = [(folder / f"tiny.{Path(path).stem}.log").read_text() for path in paths]
    assert [line.removeprefix("warning: ") in log for log in logs] == [False, False, False, True]
