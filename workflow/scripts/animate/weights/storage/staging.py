"""A copy of the model on a node's own disk, made once and used by every later job there."""

import errno
import fcntl
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from string import Template

from animate.hashing import value_hash
from animate.weights.identity import TRANSFORMER_FILE, model_files, model_identity
from animate.weights.layout import staged_file
from animate.weights.prepared import BF16, TRANSFORMER, rounded_alone, transformer_folder

# Room that is left for others, in bytes.
SPARE = 1 << 30


def stage_job(
    settings: Path, scratch: str, environment: Mapping[str, str], say: Callable[[str], None]
) -> Path:
    """Return the folder to read the model of a settings file's job from; see `stage_model`.

    Raises:
        OSError, ValueError, KeyError: the file describes no job.
    """
    job = json.loads(settings.read_text("utf-8"))
    model, own = Path(job["model"]), job["settings"].get(TRANSFORMER_FILE)
    rounded = rounded_alone(model, job["mode"], job["settings"])
    return stage_model(model, scratch, environment, say, Path(own) if own else None, rounded)


def stage_model(
    model: Path,
    scratch: str,
    environment: Mapping[str, str],
    say: Callable[[str], None],
    transformer_file: Path | None = None,
    rounded: str | None = BF16,
) -> Path:
    """Return the folder to read the model from: its copy below `scratch`, or `model` itself.

    `scratch` may name variables as $SLURM_TMPDIR. Without room, or without the folder, the model
    is read where it is, and `say` gets the reason: slower, but the same frames. `transformer_file`
    is copied, too, in the transformer's place. `rounded` chooses among prepared copies of the
    transformer; see `transformer_folder`.
    """
    try:
        folder = Path(Template(scratch).substitute(environment))
    except KeyError as missing:
        say(f"scratch: {missing.args[0]} is not set on this node; reading {model} in place")
        return model
    read = transformer_folder(model, rounded)
    identity = [model_identity(model, transformer_file), str(read.relative_to(model))]
    copy = folder / f"wan-animate-{value_hash(identity)[:16]}"
    try:
        return _copied_once(copy, _files(model, transformer_file, read))
    except OSError as error:
        reason = "no space left" if error.errno == errno.ENOSPC else str(error)
        say(f"scratch {folder}: {reason}; reading {model} in place")
        return model


def _copied_once(copy: Path, files: dict[Path, Path]) -> Path:
    with open(copy.with_suffix(".lock"), "w") as lock:  # noqa: PTH123
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not copy.is_dir():
            partial = copy.with_suffix(".part")
            shutil.rmtree(partial, ignore_errors=True)
            try:
                _copy_files(partial, files)
                partial.rename(copy)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    return copy


def _copy_files(partial: Path, files: dict[Path, Path]) -> None:
    """Copy what a sampler reads, times included: they are part of the model's identity."""
    needed = sum(file.stat().st_size for file in files)
    if needed + SPARE > shutil.disk_usage(partial.parent).free:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    for file, name in files.items():
        target = partial / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, target)


def _files(model: Path, transformer_file: Path | None, read: Path) -> dict[Path, Path]:
    """Return the files that a sampler reads, and their names in the copy.

    Its transformer's are those of the folder `read`, a prepared copy or the original.
    """
    if transformer_file:
        files = [*model_files(model, other_transformer=True), *model.glob("*.json")]
        place = staged_file(Path(), transformer_file)
        return {file: file.relative_to(model) for file in files} | {transformer_file: place}
    original = model / TRANSFORMER
    files = [*model_files(model), *model.glob("*.json")]
    others = {file: file.relative_to(model) for file in files if file.parent != original}
    return others | {file: Path(TRANSFORMER, file.name) for file in read.iterdir()}
