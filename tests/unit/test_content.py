"""What a part's pinned weights are: contents, not commits."""

from dataclasses import replace
from pathlib import Path

import pytest

from animate.hub.declared.content import part_content, part_sizes
from animate.hub.declared.declaration import Declaration, Part, Repository
from animate.hub.declared.lock import LockedFile, LockedRepository

NAME = "maker/model"
PART = Part("vae", "VAE", NAME, (("vae/*",), ("new.safetensors", "old.ckpt")), False, {}, ("x",))
DECLARATION = Declaration(None, {NAME: Repository(NAME, "main", None)}, {})
FILES = {name: LockedFile(1, name[0] * 64) for name in ("vae/weights", "vae/a.md", "old.ckpt")}
LOCKED = LockedRepository("main", "1" * 40, FILES)


def content(
    locked: LockedRepository | None = LOCKED, declaration: Declaration = DECLARATION
) -> str:
    return part_content(declaration, {} if locked is None else {NAME: locked}, PART)


@pytest.mark.parametrize("file", ["vae/a.md", "unused"])
def test_another_commit_or_file_that_nothing_reads(file):
    files = FILES | {file: LockedFile(2, "9" * 64)}
    assert content(replace(LOCKED, commit="2" * 40, files=files)) == content()


@pytest.mark.parametrize("file", ["vae/weights", "vae/another", "new.safetensors", "x"])
def test_other_contents(file):
    files = FILES | {file: LockedFile(1, "9" * 64)}
    assert content(replace(LOCKED, files=files)) not in ("", content())


@pytest.mark.parametrize(
    "locked",
    [
        None,
        replace(LOCKED, revision="v1"),
        replace(LOCKED, files={"vae/weights": FILES["vae/weights"]}),
    ],
)
def test_nothing_before_all_is_pinned(locked):
    assert content(locked) == ""


def test_a_folder_in_place_is_its_path():
    repository = Repository(NAME, "main", Path("/weights"))
    assert content(None, replace(DECLARATION, repositories={NAME: repository})) == "/weights"


def test_sizes_are_those_that_are_pinned_or_lie_in_place(tmp_path):
    assert part_sizes(DECLARATION, {NAME: LOCKED}, PART) == dict.fromkeys(FILES, 1)
    for lock in ({}, {NAME: replace(LOCKED, revision="v1")}):
        assert part_sizes(DECLARATION, lock, PART) == {}
    (tmp_path / "vae").mkdir()
    for name, size in (("vae/weights", 5), ("new.safetensors", 7), ("old.ckpt", 9)):
        (tmp_path / name).write_bytes(bytes(size))
    repository = Repository(NAME, "main", tmp_path)
    in_place = replace(DECLARATION, repositories={NAME: repository})
    assert part_sizes(in_place, {}, PART) == {"vae/weights": 5, "new.safetensors": 7}
