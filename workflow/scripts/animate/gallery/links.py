"""Where the gallery's pages are, and how they name the files beside them."""

import os
from pathlib import Path
from urllib.parse import quote

# Of all clips in the folder of the results, of one clip in its own.
INDEX = "index.html"


def address(path: Path, folder: Path) -> str:
    """Return the link to a file from a page in a folder; any characters may be in the path."""
    return quote(Path(os.path.relpath(path, folder)).as_posix())
