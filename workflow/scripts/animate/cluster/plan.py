"""The plan of a run: what each clip will take, and which clips cannot run, before any job."""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from pathlib import Path

import av

from animate.cluster.cost import WARM_START, Cost, sampling_cost
from animate.cluster.nodes import Node
from animate.cluster.published import FREE_OF_CARD, clip_plan
from animate.cluster.requests.amounts import RANK_MB, TEXT_ENCODER_MB, driving_keys_mb
from animate.cluster.requests.gpus import AUTO, node_count, why_never
from animate.cluster.site import Site
from animate.cluster.work import Work, clip_work
from animate.config.fields import frame_rate
from animate.config.table import Clip, Table
from animate.errors import ClipError, MemoryShort
from animate.parallel.plan import GIB
from animate.serving.loaded import loaded_settings

# Sizes that people have, in GB.
CARDS = (8, 12, 16, 24, 48, 80)
COLUMNS = (
    "clip",
    "frames",
    "segments",
    "tokens",
    "steps",
    "GPUs",
    "nodes",
    "minutes",
    "GPU-minutes",
    "GPU GiB",
    "card: RAM GB",
    "disk GB",
    "cannot run because",
)


@dataclass(frozen=True)
class Line:
    """One clip of the plan; without work and cost when it cannot even be measured."""

    clip: str
    work: Work | None = None
    cost: Cost | None = None
    nodes: int = 0
    peak: float | None = None
    cards: str = ""
    refusal: str = ""


def plan_clips(
    table: Table,
    results: str,
    site: Site,
    auto_gpus: int,
    nodes: Sequence[Node] = (),
    in_a_row: float = 1,
) -> Iterator[Line]:
    """Yield a line per clip of the table, refused rows last.

    `auto_gpus`: GPUs of a clip whose `gpus` is auto. `nodes`: those of the cluster, as far as they
    are known. `in_a_row`: like clips that are sampled with one load of the model. Of a video, only
    the header is read.
    """
    like: Counter[str] = Counter()

    @cache
    def why(gpus: int, model: str, keys_mb: int) -> str:
        return why_never(gpus, site, model, nodes, keys_mb=keys_mb)

    for clip in table.clips.values():
        wanted = clip.settings.gpus
        gpus = auto_gpus if wanted == AUTO else wanted
        line = _line(clip, results, site, gpus, why)
        if line.cost and not line.refusal and line.nodes == 1:
            model = clip.model.name
            loaded = loaded_settings(clip.mode, clip.settings.sampling(""))
            kind = json.dumps([gpus, model, loaded])
            if like[kind] % in_a_row:
                cost = sampling_cost(line.work, gpus, site.gpu_speed, model, WARM_START)
                line = replace(line, cost=cost)
            like[kind] += 1
        yield line
    for number, mistakes in table.row_mistakes.items():
        yield Line(f"(row {number})", refusal="; ".join(mistakes))


def _line(
    clip: Clip, results: str, site: Site, gpus: int, why: Callable[[int, str, int], str]
) -> Line:
    try:
        work = clip_work(clip, results)
        if not work.known:
            work = replace(work, frames=_promised_frames(clip, results))
    except ClipError as error:
        return Line(clip.name, refusal=str(error))
    model = clip.model.name
    line = Line(
        clip.name,
        work,
        sampling_cost(work, gpus, site.gpu_speed, model),
        node_count(gpus, site.gpus_per_node),
        refusal=why(gpus, model, driving_keys_mb(work, gpus, site, model)),
    )
    if clip.model.small:
        return line
    line = replace(line, cards=cards_of(work, gpus, line.nodes))
    try:
        plan = clip_plan(work, gpus, int(site.gpu_memory_gb * 1e9))
    except ClipError as error:
        return replace(line, refusal=line.refusal or str(error))
    return replace(line, peak=plan.peak / GIB)


def cards_of(work: Work, gpus: int, machines: int = 1) -> str:
    """Return the smallest cards that hold a clip, each with the host's RAM in GB that it takes.

    A larger card is named where it takes less RAM. The RAM is that of each of `machines` which have
    the clip's GPUs; the prompt is encoded on one of them, too.
    """
    found: dict[int, int] = {}
    for card in CARDS:
        with suppress(MemoryShort):
            plan = clip_plan(work, gpus, int(card * GIB * FREE_OF_CARD))
            sampler = (plan.host_memory / 1e6 + gpus * RANK_MB) / machines
            ram = math.ceil(max(sampler, TEXT_ENCODER_MB) / 1000)
            if ram < min(found.values(), default=ram + 1):
                found[card] = ram
    return ", ".join(f"{card}: {ram}" for card, ram in found.items()) or "none"


def _promised_frames(clip: Clip, results: str) -> int:
    """Return the frames that the driving video's header promises, between the clip's times."""
    length, source_rate = _length_and_rate(clip, results)
    start, end = clip.settings.start or 0, clip.settings.end or length
    if start >= length:
        video = f"the result of {clip.source.name}" if clip.source else clip.video
        raise ClipError(f"start is {start} s, but {video} lasts {length:.2f} s; set it lower")
    seconds = min(end, length) - start
    return max(1, round(seconds * frame_rate(clip.settings.fps, source_rate)))


def _length_and_rate(clip: Clip, results: str) -> tuple[float, Fraction]:
    """Return seconds and frame rate of the driving video, also of a result that is not made yet."""
    if source := clip.source:
        work = clip_work(source, results)
        frames = work.frames if work.known else _promised_frames(source, results)
        rate = frame_rate(source.settings.fps, _length_and_rate(source, results)[1])
        return float(frames / rate), rate
    try:
        with av.open(clip.video) as container:
            stream = container.streams.video[0]
            return container.duration / av.time_base, stream.average_rate
    except (av.error.FFmpegError, IndexError, OSError, TypeError) as error:
        raise ClipError(f"driving video {clip.video} cannot be read; use another file") from error


def table_rows(lines: list[Line]) -> list[list[str]]:
    """Return the plan as text: header, one row per clip, total of the clips that can run."""
    rows = [list(COLUMNS), *map(_cells, lines)]
    able = [line for line in lines if line.cost and not line.refusal]
    total = ["total", str(sum(line.work.frames for line in able))]
    total += [str(sum(line.work.segments for line in able)), "", "", "", "", ""]
    total += [f"{sum(line.cost.gpu_minutes for line in able):.1f}", "", ""]
    total += [
        f"{sum(line.cost.disk for line in able) / 1e9:.2f}",
        f"{len(lines) - len(able)} clips",
    ]
    return [*rows, total]


def _cells(line: Line) -> list[str]:
    if line.work is None:
        return [line.clip, *[""] * (len(COLUMNS) - 2), line.refusal]
    work, cost = line.work, line.cost
    return [
        line.clip,
        f"{'' if work.known else '~'}{work.frames}",
        str(work.segments),
        str(work.tokens),
        str(work.steps),
        str(cost.gpus),
        str(line.nodes),
        f"{cost.seconds / 60:.1f}",
        f"{cost.gpu_minutes:.1f}",
        "" if line.peak is None else f"{line.peak:.1f}",
        line.cards,
        f"{cost.disk / 1e9:.2f}",
        line.refusal,
    ]


def aligned(rows: list[list[str]]) -> str:
    """Return the rows as lines of aligned columns, numbers to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    last = len(COLUMNS) - 1
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column in (0, last) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def write_plan(path: Path, rows: list[list[str]]) -> None:
    """Write the rows as tab-separated values."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join("\t".join(row) + "\n" for row in rows), "utf-8")
