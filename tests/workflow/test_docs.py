"""The pages for readers name only what exists: commands, files, settings, messages and links."""

import re
import shlex
import tomllib
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest
import yaml
from packaging.specifiers import SpecifierSet
from snakemake.cli import get_argument_parser

from animate.cluster.plan import COLUMNS
from animate.cluster.published import published_sizes
from animate.cluster.requests.amounts import sampling_mb
from animate.config.checks import config_mistakes
from animate.devices.machine import OLDEST_DRIVER
from animate.errors import MemoryShort
from animate.parallel.plan import GIB, plan_memory
from project import ROOT

PAGES = [ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "CHANGELOG", "config/README")]
PAGES += sorted((ROOT / "docs").glob("*.md"))
BINARY = ".pyc", ".safetensors"
BENCHMARKS = sorted((ROOT / "benchmarks").glob("*.md"))
LIBRARY = ROOT / "workflow/scripts/animate"
FENCE = re.compile(r"^ *```(\w+)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^]]*\]\(([^)\s]+)\)")
RULE = re.compile(r"^(?:use )?rule (?:\w+ as )?(\w+)(?: with)?:", re.MULTILINE)
# Programs that are not this project's, and what the pages name of them and of people's own files.
PROGRAMS = (
    *("apptainer", "apt-get", "cd", "conda", "docker", "export", "git", "hf", "module", "pip"),
    *("sinfo", "tmux", "ulimit"),
)
OUTSIDE = {
    "--nv", ".ckpt", ".venv", "HF_HOME/hub", "HF_HUB_CACHE", "HF_TOKEN", "KillWait", "MinJobAge",
    "URL",
    "download --force-redownload", "onnxruntime-gpu",
    "patch_embedding", "quick", "sacct", "snakedeploy", "status", "xlm-roberta-large",
    "~", "~/.cache/huggingface/hub",
    # Of SLURM's sbatch.
    "--exclusive", "--gpus", "--gpus-per-node", "--gres", "--mem", "--name", "--name=value",
    "Socket timed out", "Unable to contact slurm controller", "a100-sxm4-80gb",
}  # fmt: skip


def sources(*patterns: str) -> str:
    """Return the text of the project's own files, as its messages appear to people."""
    files = sorted(file for pattern in patterns for file in ROOT.glob(pattern) if file.is_file())
    text = "\n".join(file.read_text("utf-8") for file in files if file.suffix not in BINARY)
    text = text.replace("{{", "{").replace("}}", "}").replace("`", "")
    # Texts that are written in pieces are one.
    return re.sub(r'"\s*\n\s*f?"', "", text)


@cache
def code() -> str:
    return sources(
        "workflow/**/*",
        "config/*.yaml",
        "config/*.csv",
        "profiles/**/*.yaml",
        "Makefile",
        "Snakefile",
        "requirements.lock",
        "envs/*",
    )


@cache
def rules() -> set[str]:
    return set(RULE.findall(sources("Snakefile", "workflow/Snakefile", "workflow/rules/*.smk")))


def blocks(page: Path, language: str) -> list[str]:
    """Return the lines of a page's blocks in a language."""
    found = FENCE.findall(page.read_text("utf-8"))
    return [line for name, block in found if name == language for line in block.splitlines()]


def spans(page: Path) -> list[str]:
    """Return what a page has between backticks, outside its blocks."""
    return sorted(set(re.findall(r"`([^`\n]+)`", FENCE.sub("", page.read_text("utf-8")))))


def is_real(span: str, page: Path) -> bool:
    """Return whether what a page has between backticks exists."""
    if span in OUTSIDE:
        return True
    if span.startswith("--") or is_command(span):
        return runs(span if not span.startswith("--") else f"snakemake {span}")
    if setting := re.fullmatch(r"(\w+): (.+)", span):
        return "..." in setting[2] or is_setting(*setting.groups())
    if re.fullmatch(r"\w+:", span):
        return re.search(rf"^ *{span}", code(), re.MULTILINE) is not None
    return is_file(span, page) or is_said(span)


def is_command(text: str) -> bool:
    program = re.sub(r"^\.venv/bin/", "", text).split()[0]
    return program in (*PROGRAMS, "bash", "make", "python", "snakemake", "torchrun") and (
        " " in text or text.startswith(".venv")
    )


def runs(text: str) -> bool:
    """Return whether the parts of a command line that are this project's exist."""
    return all(_runs(*shlex.split(part, comments=True)) for part in text.split("&&"))


def _runs(program: str = "", *words: str) -> bool:
    program = program.removeprefix(".venv/bin/")
    if program == "make":
        targets = [word for word in words if "=" not in word]
        return all(re.search(rf"^{re.escape(t)}:", code(), re.MULTILINE) for t in targets)
    if program == "snakemake":
        return _is_snakemake(words)
    if program in ("bash", "python", "torchrun"):
        scripts = [word for word in words if "/" in word and not word.startswith("-")]
        text = "".join((ROOT / script).read_text() for script in scripts[:1] if is_file(script))
        options = [w.split("=")[0] for w in words[words.index(scripts[0]) :] if w.startswith("--")]
        shared = "\n".join(path.read_text() for path in LIBRARY.rglob("stage.py"))
        return bool(text) and all(f'"{option}"' in text + shared for option in options)
    return program in ("", *PROGRAMS)


def _is_snakemake(words: tuple[str, ...]) -> bool:
    try:
        chosen = get_argument_parser().parse_args(words)
    except SystemExit as end:
        return end.code == 0
    wanted = {*chosen.targets, *chosen.forcerun}
    folders = [ROOT / profile for profile in chosen.profile or ()]
    return all((folder / "config.yaml").is_file() for folder in folders) and all(
        target in rules() or is_file(target) for target in wanted
    )


def is_setting(key: str, value: str) -> bool:
    """Return whether a key may have a value: in the configuration, a clip or a declaration."""
    shipped = yaml.safe_load((ROOT / "config/config.yaml").read_text("utf-8"))
    given = {key: yaml.safe_load(value)}
    places = [given, {"defaults": given}, {"cluster": given}]
    places.append({"defaults": {"loras": [{"path": "style.safetensors", **given}]}})
    return any(not config_mistakes(shipped | place) for place in places) or (
        re.search(rf"^ *{key}: ", sources("config/models.yaml"), re.MULTILINE) is not None
    )


def is_file(name: str, page: Path = ROOT / "README.md") -> bool:
    """Return whether a file or folder is there, or is one that the workflow makes."""
    if re.search(r"[\s()]", name):
        return False
    if any((folder / name).exists() for folder in (ROOT, page.parent, LIBRARY)):
        return True
    top, _, rest = name.partition("/")
    made = top in ("results", "models", "logs", "demo")
    return made and (not rest or is_said(Path(rest.replace("dance", "{clip}")).name))


def is_said(text: str) -> bool:
    """Return whether the project's files have a text, its parts around `...` and `*` apart."""
    parts = [part.strip() for part in re.split(r"\.\.\.|\*", text)]
    return all(re.search(rf"(?<!\w){re.escape(part)}(?!\w)", code()) for part in parts if part)


def anchors(page: Path) -> set[str]:
    """Return the names by which a page's headings are linked to, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_names_exists(page):
    assert [span for span in spans(page) if not is_real(span, page)] == []


@pytest.mark.parametrize(
    "page", [*PAGES, *BENCHMARKS], ids=lambda page: str(page.relative_to(ROOT))
)
def test_the_commands_of_a_page_exist(page):
    assert [line for line in blocks(page, "bash") if not runs(line)] == []


@pytest.mark.parametrize(
    "page", [*PAGES, *BENCHMARKS], ids=lambda page: str(page.relative_to(ROOT))
)
def test_no_link_of_a_page_is_dead(page):
    dead = []
    for link in LINK.findall(page.read_text("utf-8")):
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        found = link.startswith("https://") or (
            target.exists() and (not anchor or anchor in anchors(target))
        )
        dead += [] if found else [link]
    assert dead == []


@pytest.mark.parametrize(
    "invented",
    [
        "make instal", "snakemake previewz", "snakemake --profile locale plan", "--keep-on-going",
        "mask_iteration", "steps: many", "network: moon", "workflow/rules/mats.smk",
        "results/{clip}/src_hands.mp4", "python benchmarks/steps.py --fp9", "finds no dog in",
    ],
)  # fmt: skip
def test_what_is_invented_is_found_out(invented):
    assert not is_real(invented, ROOT / "README.md")


def test_examples_of_the_table_and_the_plan_have_the_real_columns():
    for page in PAGES:
        for line in blocks(page, "csv"):
            columns = line.split(",") if line.startswith("clip,") else []
            assert all(map(is_said, columns)), line
    header = next(line for line in blocks(ROOT / "docs/cluster.md", "text") if "GPU-min" in line)
    assert re.split(r"\s{2,}", header) == list(COLUMNS)


def test_the_readme_is_short_and_names_what_ci_runs():
    readme = (ROOT / "README.md").read_text("utf-8")
    assert len(readme.splitlines()) <= 120
    commands = re.findall(r"^make \w+$", (ROOT / ".ci/run").read_text("utf-8"), re.MULTILINE)
    assert commands == ["make test", "make demo"]
    assert all(re.search(rf"^{command}\b", readme, re.MULTILINE) for command in commands)


PLACEMENTS = [
    placement + parts
    for placement in ("replicated", "fsdp2", "offload")
    for parts in ("", ", by frames")
]
DRIVEN_PLACEMENTS = [
    placement + parts
    for placement in ("replicated", "replicated, streamed", "offload, streamed")
    for parts in ("", ", by frames")
]


def plans(width: int, height: int, precision: str, gpus: int, frames: int, kind: str) -> dict:
    """Return the plan of each placement by its name, the one without a limit first."""
    sizes = published_sizes(precision, kind)
    tokens, found, memory = (frames // 4 + 2) * width * height // 256, {}, None
    with suppress(MemoryShort):
        while True:
            plan = plan_memory(sizes, tokens, width * height, frames, memory, gpus)
            name = plan.placement + (", streamed" if plan.streamed else "")
            found[name + (", by frames" if plan.by_frames else "")] = plan
            memory = plan.peak - 1
    return found


def peaks(
    width: int, height: int, precision: str, gpus: int, frames: int = 77, kind: str = "posed"
) -> list[str]:
    """Return the GiB that the plan expects of each placement, "" of those that it does not take."""
    found = plans(width, height, precision, gpus, frames, kind)
    names = PLACEMENTS if kind == "posed" else DRIVEN_PLACEMENTS
    return [f"{found[name].peak / GIB:.1f}" if name in found else "" for name in names]


def test_the_hardware_that_the_pages_ask_for_is_what_the_code_expects():
    readme = (ROOT / "README.md").read_text("utf-8")
    settings = (ROOT / "docs/settings.md").read_text("utf-8")
    rows = re.findall(r"^\| (\d+)x(\d+) \| (\w+) \| (\d+) \| (.+) \|$", settings, re.MULTILINE)
    assert len(rows) >= 8
    for width, height, precision, gpus, figures in rows:
        expected = peaks(int(width), int(height), precision, int(gpus))
        assert [figure.strip() for figure in figures.split("|")] == expected
    whole, offloaded = peaks(1280, 720, "bf16", 1)[::4]
    assert f"{whole} GiB" in readme and f"{offloaded} GiB" in readme
    one, two = (sampling_mb(ranks, "wan2.2-animate-14b", attempt=1) for ranks in (1, 2))
    assert f"| {one // 1000} GB for a clip on one GPU, {(two - one) // 1000} GB more" in readme
    lock = (ROOT / "requirements.lock").read_text("utf-8")
    generation = re.search(r"^nvidia-cudnn-cu(\d+)==", lock, re.MULTILINE)[1]
    assert f"{OLDEST_DRIVER[generation]} or newer" in readme


def test_the_memory_that_the_page_of_the_second_model_states_is_what_the_code_expects():
    page = (ROOT / "docs/wan-animate-2.md").read_text("utf-8")
    rows = re.findall(r"^\| (\d+)x(\d+) \| (\w+) \| (.+) \|$", page, re.MULTILINE)
    assert len(rows) == 4
    for width, height, precision, figures in rows:
        size = int(width), int(height), precision, 1, 81
        expected = peaks(*size, kind="driven")
        found = plans(*size, "driven")
        host = [f"{found[name].host_memory / GIB:.0f}" for name in DRIVEN_PLACEMENTS[2::2]]
        assert [figure.strip() for figure in figures.split("|")] == [*expected, *host]


def test_the_project_describes_itself_alike_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert (str(citation["version"]), citation["license"]) == (project["version"], "Apache-2.0")
    assert {"cff-version", "message", "title", "authors", "references"} <= set(citation)
    assert f"\n## {project['version']}" in (ROOT / "CHANGELOG.md").read_text("utf-8")
    job = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text("utf-8"))["jobs"]["test"]
    assert "bash .ci/run" in [step.get("run") for step in job["steps"]]
    supported = SpecifierSet(project["requires-python"])
    assert all(version in supported for version in job["strategy"]["matrix"]["python"])
