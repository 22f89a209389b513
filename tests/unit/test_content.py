"""What a part's pinned weights are: contents, not commits."""

import pytest

from animate.hub.declared.declaration import Declaration, Part, Repository
from animate.hub.declared.lock import LockedFile, LockedRepository, part_content, part_sizes

NAME = "maker/model"
PART = Part(
    purpose="VAE",
    repository=NAME,
    files=["vae/*", ["new.safetensors", "old.ckpt"]],
    optional=["x"],
)
DECLARATION = Declaration(repositories={NAME: Repository()}, models={})
FILES = {
    name: LockedFile(size=1, sha256="f" * 64) for name in ("vae/weights", "vae/a.md", "old.ckpt")
}
LOCKED = LockedRepository(revision="main", commit="1" * 40, files=FILES)


def content(
    locked: LockedRepository | None = LOCKED, declaration: Declaration = DECLARATION
) -> str:
    return part_content(declaration, {} if locked is None else {NAME: locked}, PART)


@pytest.mark.parametrize("file", ["vae/a.md", "unused"])
def test_another_commit_or_file_that_nothing_reads(file):
    files = FILES | {file: LockedFile(size=2, sha256="9" * 64)}
    assert content(LOCKED.model_copy(update={"commit": "2" * 40, "files": files})) == content()


@pytest.mark.parametrize("file", ["vae/weights", "vae/another", "new.safetensors", "x"])
def test_other_contents(file):
    files = FILES | {file: LockedFile(size=1, sha256="9" * 64)}
    assert content(LOCKED.model_copy(update={"files": files})) not in ("", content())


@pytest.mark.parametrize(
    "locked",
    [
        None,
        LOCKED.model_copy(update={"revision": "v1"}),
        LOCKED.model_copy(update={"files": {"vae/weights": FILES["vae/weights"]}}),
    ],
)
def test_nothing_before_all_is_pinned(locked):
    assert content(locked) == ""


def test_a_folder_in_place_is_its_path():
    in_place = {"repositories": {NAME: Repository(path="/weights")}}
    assert content(None, DECLARATION.model_copy(update=in_place)) == "/weights"


def test_sizes_are_those_that_are_pinned_or_lie_in_place(tmp_path):
    assert part_sizes(DECLARATION, {NAME: LOCKED}, PART) == dict.fromkeys(FILES, 1)
    for lock in ({}, {NAME: LOCKED.model_copy(update={"revision": "v1"})}):
        assert part_sizes(DECLARATION, lock, PART) == {}
    (tmp_path / "vae").mkdir()
    for name, size in (("vae/weights", 5), ("new.safetensors", 7), ("old.ckpt", 9)):
        (tmp_path / name).write_bytes(bytes(size))
    in_place = DECLARATION.model_copy(update={"repositories": {NAME: Repository(path=tmp_path)}})
    assert part_sizes(in_place, {}, PART) == {"vae/weights": 5, "new.safetensors": 7}
