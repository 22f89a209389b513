"""Hash the files of the models against the lock and fetch the bad ones again."""

from animate.errors import ClipError
from animate.hub.arguments import installations, models_parser
from animate.stage import run_stage


def main(args) -> None:
    """Print each bad file, then mend; fail where nothing is pinned or a folder is the user's."""
    chosen = list(installations(args))
    unpinned = [f"{i.name}: {part}" for i in chosen for part in i.parts if not i.files(part)]
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
    """Print what is wrong with a model's files; return the bad ones."""
    faults = installation.faults()
    bad = [file for file, fault in faults.items() if fault]
    for file in bad:
        remedy = "to be fetched again" if file.commit else "not ours to change"
        print(f"{installation.name}: {file.path}: {faults[file]}; {remedy}", flush=True)
    good = len(faults) - len(bad)
    print(f"{installation.name}: {good} of {len(faults)} pinned files were good", flush=True)
    return bad


if __name__ == "__main__":
    run_stage(main, models_parser(__doc__))
