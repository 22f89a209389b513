"""Hash the files of the models against the lock and fetch the bad ones again."""

from animate.errors import ClipError
from animate.hub.arguments import installations, models_parser
from animate.stage import run_stage


def main(args) -> None:
    """Print each bad file, then mend; fail where nothing is pinned or a folder is the user's."""
    chosen = list(installations(args))
    unpinned = [
        f"{installation.name}: {part}"
        for installation in chosen
        for part in installation.unpinned()
    ]
    faults = [report(installation) for installation in chosen]
    for installation, bad in zip(chosen, faults, strict=True):
        installation.bring(bad, force=True)
    foreign = [str(file.path) for bad in faults for file in bad if not file.commit]
    if foreign:
        raise ClipError(
            f"{', '.join(foreign)} differ from the pinned commit: replace them, or remove `path`"
            " in config/models.yaml"
        )
    if unpinned:
        raise ClipError(
            f"{', '.join(unpinned)}: not pinned, so there is nothing to compare with: run"
            " `snakemake download`"
        )


def report(installation):
    """Return what is wrong with a model's files and print it."""
    name, bad = installation.name, installation.faults()
    for file, fault in bad.items():
        remedy = "to be fetched again" if file.commit else "not ours to change"
        print(f"{name}: {file.path}: {fault}; {remedy}", flush=True)
    count = sum(file.pin is not None for file in installation.files())
    print(f"{name}: {count - len(bad)} of {count} pinned files were good", flush=True)
    return bad


if __name__ == "__main__":
    run_stage(main, models_parser(__doc__))
