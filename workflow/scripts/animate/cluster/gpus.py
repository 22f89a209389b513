"""How many GPUs a clip gets, on how many nodes, and which clips no node can run."""

from animate.cluster.site import Site
from animate.schema import load_schema
from animate.table import Clip

AUTO = "auto"


def degrees() -> list[int]:
    """Return the numbers of GPUs that can share a clip, in ascending order."""
    allowed = load_schema("settings")["properties"]["gpus"]["enum"]
    return sorted(value for value in allowed if value != AUTO)


def auto_gpus(available: int, per_node: int, clips: int) -> int:
    """Return the GPUs of each of `clips` clips when `available` GPUs are shared among them.

    One while there are more clips than GPUs, and at most those of one node, which are linked.
    """
    share = min(available // max(clips, 1), per_node)
    return max((degree for degree in degrees() if degree <= share), default=1)


def node_count(gpus: int, per_node: int) -> int:
    """Return the fewest nodes, each with the same number of GPUs."""
    nodes = -(-gpus // per_node)
    while gpus % nodes:
        nodes += 1
    return nodes


def why_never(clip: Clip, site: Site) -> str:
    """Return why no job of this clip can start on the site, or nothing."""
    gpus = clip.settings["gpus"]
    if gpus != AUTO and gpus > site.max_gpus:
        return (
            f"{gpus} GPUs are more than the {site.max_gpus} of cluster.max_gpus: set the"
            " clip's gpus lower, or cluster.max_gpus in config.yaml to what the partition has"
        )
    return ""
