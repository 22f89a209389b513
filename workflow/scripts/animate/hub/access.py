"""Whether a repository whose terms have to be accepted can be fetched, before anything starts."""

import os
from importlib.util import find_spec

from animate.hub.declared.declaration import Declaration, Part


def access_problem(declaration: Declaration, part: Part) -> str:
    """Return why a part with terms cannot be fetched, "" when nothing speaks against it.

    Nothing is asked of the hub: whether the terms were accepted, it says when the part is pinned.
    """
    offline = os.environ.get("HF_HUB_OFFLINE", "0").lower() not in ("", "0", "false", "no", "off")
    in_place = declaration.repositories[part.repository].path
    # Snakemake's own environment may lack what the jobs have.
    if not part.terms or in_place or offline or find_spec("huggingface_hub") is None:
        return ""
    from huggingface_hub import constants, get_token

    from animate.hub.files import cache_folder, repository_folder

    # Another user may have fetched it into the same cache.
    if get_token() or repository_folder(cache_folder(declaration), part.repository).is_dir():
        return ""
    return (
        f"repository {part.repository} asks for a token ({part.terms}): accept the terms at"
        f" {constants.ENDPOINT}/{part.repository}, then run `hf auth login` or set HF_TOKEN, or"
        " set retarget to basic"
    )
