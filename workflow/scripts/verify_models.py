"""Hash the files of the models against the lock and fetch the bad ones again."""

from animate.errors import ClipError
from animate.hub.arguments import installations, models_parser, needed_parts
from animate.stage import run_stage


def main(args) -> None:
    """Print each bad file; fail when one lies in a folder of the user's."""
    foreign = []
    for installation in installations(args, needed_parts(args)):
        bad = installation.verify()
        for file, fault in bad.items():
            mended = "fetched again" if file.hub_file else "not ours to change"
            print(f"{installation.model.name}: {file.path}: {fault}; {mended}", flush=True)
        foreign += [str(file.path) for file in bad if not file.hub_file]
        count = len(installation.files())
        print(f"{installation.model.name}: {count - len(bad)} of {count} files were good")
    if foreign:
        raise ClipError(
            f"{', '.join(foreign)} differ from the pinned commit: replace them, or remove `path`"
            " in config/models.yaml"
        )


if __name__ == "__main__":
    run_stage(main, models_parser(__doc__))
