"""How many GPUs a clip gets, on how many nodes, and which clips no node can run."""

from collections.abc import Iterable

from animate.cluster.nodes import Node, Request, why_no_node
from animate.cluster.requests.amounts import sampling_mb
from animate.cluster.site import Site
from animate.config.settings import DEGREES

AUTO = "auto"


def auto_gpus(available: int, per_node: int, clips: int) -> int:
    """Return the GPUs of each of `clips` clips when `available` GPUs are shared among them.

    One while there are more clips than GPUs, and at most those of one node, which are linked.
    """
    share = min(available // max(clips, 1), per_node)
    return max((degree for degree in DEGREES if degree <= share), default=1)


def node_count(gpus: int, per_node: int) -> int:
    """Return the fewest nodes, each with the same number of GPUs."""
    nodes = -(-gpus // per_node)
    while gpus % nodes:
        nodes += 1
    return nodes


def why_never(
    gpus: int,
    site: Site,
    model: str,
    nodes: Iterable[Node],
    several: bool = True,
    keys_mb: int = 0,
) -> str:
    """Return why no job that samples a clip on `gpus` GPUs can start on the site, or nothing.

    `nodes`: those of the cluster, as far as they are known. `several` tells whether a job may have
    several of them. `keys_mb`: what it keeps in host memory, see `driving_keys_mb`.
    """
    if gpus > site.max_gpus:
        return (
            f"{gpus} GPUs are more than the {site.max_gpus} of cluster.max_gpus: set the"
            " clip's gpus lower, or cluster.max_gpus in config.yaml to what the partition has"
        )
    count = node_count(gpus, site.gpus_per_node)
    if count > 1 and not several:
        return (
            f"{gpus} GPUs are {count} nodes of {site.gpus_per_node}, and only SLURM starts a clip"
            " on several: set the clip's gpus lower, or cluster.gpus_per_node in config.yaml"
        )
    ranks = gpus // count
    # Where jobs may not ask for memory, nodes often do not say what they have.
    asked = sampling_mb(ranks, model, attempt=1, keys_mb=keys_mb // count)
    memory = asked if site.memory else 0
    return why_no_node(Request(count, ranks, site.cpus_per_gpu * ranks, memory), site, nodes)
