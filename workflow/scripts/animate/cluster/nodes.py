"""What the nodes of a cluster have, as SLURM's `sinfo` says, and why a job fits none of them."""

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from animate.cluster.site import Site

COMMAND = ("sinfo", "--all", "--noheader", "--Node", "--format=%P\t%G\t%c\t%m\t%f")
PATIENCE_SECONDS = 5
# Of a constraint, only features joined by "and" and "or" are judged here.
UNJUDGED = re.compile(r"[][()*]")


@dataclass(frozen=True)
class Node:
    """One node in one partition; down or not, it counts. `gpus`: how many of each type."""

    partition: str
    gpus: Mapping[str, int]
    cpus: int
    memory_mb: int
    features: frozenset[str]


@dataclass(frozen=True)
class Request:
    """What a job asks for: so many nodes, and of each one so many GPUs, CPUs and MB."""

    nodes: int
    gpus: int
    cpus: int
    memory_mb: int


def ask_nodes() -> list[Node]:
    """Return the nodes of the cluster; none where SLURM is not there or does not answer soon."""
    if shutil.which(COMMAND[0]) is None:
        return []
    try:
        done = subprocess.run(COMMAND, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        return []
    return [] if done.returncode else read_nodes(done.stdout)


def read_nodes(text: str) -> list[Node]:
    """Return the nodes of sinfo's answer to `COMMAND`; other lines are a site's own words."""
    rows = [line.split("\t") for line in text.splitlines()]
    return [_read_node(*row) for row in rows if len(row) == COMMAND[-1].count("%")]


def _read_node(partition: str, gres: str, cpus: str, memory: str, features: str) -> Node:
    return Node(
        partition=partition.removesuffix("*"),
        gpus=read_gpus(gres),
        cpus=_number(cpus),
        memory_mb=_number(memory),
        features=frozenset(features.split(",")) - {"(null)"},
    )


def read_gpus(gres: str) -> Counter[str]:
    """Return the GPUs of each type in a text such as gpu:a100:4(S:0-1),gpu:1g.10gb:7.

    The type of a GPU without one is empty.
    """
    found: Counter[str] = Counter()
    for item in re.sub(r"\([^)]*\)", "", gres).split(","):
        name, *types, count = item.split(":") if ":" in item else (item, "1")
        if name == "gpu":
            found[":".join(types)] += _number(count)
    return found


def why_no_node(request: Request, site: Site, nodes: Iterable[Node]) -> str:
    """Return why a sampler's job fits no node of its partition, or nothing."""
    found = _of_partition(nodes, site.gpu_partition or site.partition)
    if not found:
        # Of a wrong name SLURM says so itself, when the job is submitted.
        return ""
    partition = f"partition {', '.join(sorted({node.partition for node in found}))}"
    able = [node for node in found if _has_features(node, site.gpu_constraint)]
    if not able:
        known = ", ".join(sorted(frozenset().union(*(node.features for node in found))))
        return (
            f"no node of {partition} has the features {site.gpu_constraint}: correct"
            f" cluster.gpu_constraint in config.yaml; its nodes have {known or 'none'}"
        )
    if not any(_gpus(node, site.gpu_model) for node in able):
        return _why_no_gpu(site, able, partition)
    return _why_too_large(request, site, able, partition)


def _why_no_gpu(site: Site, able: list[Node], partition: str) -> str:
    types = sorted({kind or "GPUs without a type" for node in able for kind in node.gpus})
    if types:
        return (
            f"no node of {partition} has GPUs of type {site.gpu_model}: correct cluster.gpu_model"
            f" in config.yaml; its nodes have {', '.join(types)}"
        )
    return f"no node of {partition} has GPUs: set cluster.gpu_partition in config.yaml"


def _why_too_large(request: Request, site: Site, able: list[Node], partition: str) -> str:
    """Narrow the able nodes down by GPUs, CPUs and memory, to the first that none has enough of."""
    kind = f"GPUs of type {site.gpu_model}" if site.gpu_model else "GPUs"
    with_gpus = f" with {request.gpus} {kind}"

    def beyond(asked: int, what: str, most: int, such: str = with_gpus) -> str:
        return f"{asked} {what} of one node: no node of {partition}{such} has more than {most}; set"

    most = max(_gpus(node, site.gpu_model) for node in able)
    if most < request.gpus:
        said = beyond(request.gpus, kind, most, such="")
        return f"{said} cluster.gpus_per_node in config.yaml to {most}"
    able = [node for node in able if _gpus(node, site.gpu_model) >= request.gpus]
    most = max(node.cpus for node in able)
    if most < request.cpus:
        said = beyond(request.cpus, "CPUs", most)
        return f"{said} cluster.cpus_per_gpu in config.yaml to {max(1, most // request.gpus)}"
    able = [node for node in able if node.cpus >= request.cpus]
    most = max(node.memory_mb for node in able)
    if most < request.memory_mb:
        said = beyond(request.memory_mb, "MB of memory", most)
        return f"{said} cluster.gpus_per_node in config.yaml lower, or gpu_partition to another"
    able = [node for node in able if node.memory_mb >= request.memory_mb]
    if len(able) < request.nodes:
        return (
            f"{request.nodes} nodes{with_gpus} each: {partition} has only {len(able)} of them; set"
            " the clip's gpus lower"
        )
    return ""


def most_memory(site: Site, nodes: Iterable[Node]) -> int | None:
    """Return the MB of the largest node that a sampler can run on, None when none is known."""
    found = _of_partition(nodes, site.gpu_partition or site.partition)
    able = [node for node in found if _has_features(node, site.gpu_constraint)]
    sizes = [node.memory_mb for node in able if _gpus(node, site.gpu_model)]
    return max(sizes, default=None)


def _of_partition(nodes: Iterable[Node], wanted: str | None) -> list[Node]:
    # Without a name it need not be the default: sites and users have other ways to choose one.
    return [node for node in nodes if wanted is None or node.partition in wanted.split(",")]


def _has_features(node: Node, constraint: str | None) -> bool:
    if constraint is None or UNJUDGED.search(constraint):
        return True
    options = (re.split("[&,]", option) for option in constraint.split("|"))
    return any(node.features.issuperset(option) for option in options)


def _gpus(node: Node, model: str | None) -> int:
    return sum(n for kind, n in node.gpus.items() if not model or kind.lower() == model.lower())


def _number(text: str) -> int:
    """Return the number that a text starts with: SLURM appends signs and units to some."""
    found = re.match(r"\d+", text)
    return int(found[0]) if found else 0
