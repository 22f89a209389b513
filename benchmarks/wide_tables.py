"""Time and memory of a dry run over many clips, against as many rules and files that do nothing.

python benchmarks/wide_tables.py 1000 10000
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
MODES = "animate", "replace"
# The rules as Snakemake sees them: what each reads and makes. Of those marked, "+" is read in
# replacement only and "-" in animation only; a name with a suffix is one file for all clips.
RULES = {
    "reference": ("image.png", "reference"),
    "timeline": ("video.mp4 -reference", "timeline"),
    "keypoints": ("video.mp4 timeline", "keypoints"),
    "pose_video": ("timeline keypoints", "pose"),
    "face_video": ("video.mp4 timeline keypoints", "face"),
    "person_mask": ("video.mp4 timeline keypoints", "person_mask"),
    "mask": ("person_mask", "mask"),
    "background": ("video.mp4 timeline mask", "background"),
    "preview": (
        "video.mp4 timeline keypoints pose face +person_mask +mask reference",
        "preview metrics",
    ),
    "sample": (
        "model.json pose face reference +background +mask prompt.safetensors",
        "sampled settings",
    ),
    "mux": ("sampled video.mp4 timeline", "result"),
    "provenance": ("video.mp4 image.png timeline settings result model.json", "record"),
    "page": ("video.mp4 timeline pose reference result record preview metrics", "page"),
}
FINISH = "mux", "provenance", "page"


def write_empty(folder: Path, clips: int) -> list[str]:
    """Write the workflow of rules that do nothing; return the options that dry-run it."""
    lines = [
        f"CLIPS = [f'clip{{n}}' for n in range({clips})]",
        "def only(odd, name):",
        "    return lambda w: f'{w.clip}/{name}' if int(w.clip[4:]) % 2 == odd else []",
        "rule all:",
        "    input: expand('{clip}/{name}', clip=CLIPS, name=['result', 'record', 'page'])",
        "rule model:",
        "    output: 'model.json'",
        "    shell: 'true'",
        "rule prompt:",
        "    input: 'model.json'",
        "    output: 'prompt.safetensors'",
        "    shell: 'true'",
    ]
    for name, (inputs, outputs) in RULES.items():
        lines += [f"rule {name}:", f"    input: {', '.join(map(_input, inputs.split()))}"]
        lines += [f"    output: {', '.join(map(_input, outputs.split()))}"]
        lines += [f"    log: 'logs/{name}/{{clip}}.log'", "    conda: 'environment.yaml'"]
        if name != "sample":
            lines += [f"    group: '{'finish' if name in FINISH else 'prepare'}'"]
        lines += ["    resources: mem_mb=1", "    shell: 'true'"]
    (folder / "Snakefile").write_text("\n".join(lines) + "\n")
    (folder / "environment.yaml").write_text("dependencies: []\n")
    return ["--cores", "4", "--scheduler", "greedy", "--rerun-incomplete"]


def _input(name: str) -> str:
    if name[0] in "+-":
        return f"only({int(name[0] == '+')}, '{name[1:]}')"
    return repr(name if "." in name else f"{{clip}}/{name}")


def write_ours(folder: Path, clips: int) -> list[str]:
    """Write a table of that many clips; return the command that dry-runs this workflow."""
    (folder / "config").mkdir()
    (folder / "config/config.yaml").write_text((ROOT / "config/config.yaml").read_text())
    rows = ["clip,video,reference,mode"]
    rows += [f"clip{n},../video.mp4,../image.png,{MODES[n % 2]}" for n in range(clips)]
    (folder / "config/clips.csv").write_text("\n".join(rows) + "\n")
    options = ["--snakefile", str(ROOT / "Snakefile"), "--config", "model=tiny"]
    return [*options, "--cores", "4", "--scheduler", "greedy", "--rerun-incomplete"]


def start(folder: Path, options: list[str]) -> subprocess.Popen:
    """Start a dry run that prints into console.txt."""
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--quiet", "rules", *options]
    with (folder / "console.txt").open("w") as file:
        return subprocess.Popen(command, cwd=folder, stdout=file, stderr=file)


def measure(folder: Path, process: subprocess.Popen) -> tuple[int, float, float]:
    """Return the jobs of a dry run, its processor seconds and its peak MB."""
    _, status, usage = os.wait4(process.pid, 0)
    console = (folder / "console.txt").read_text()
    if status:
        sys.exit(console[-2000:])
    total = next(line for line in console.splitlines() if line.startswith("total"))
    return int(total.split()[1]), usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def measure_both(clips: int, base: Path) -> list[tuple[int, float, float]]:
    """Dry-run both workflows at the same time, so that a busy machine slows both alike."""
    folders, processes = [base / "empty", base / "ours"], []
    for folder, write in zip(folders, (write_empty, write_ours), strict=True):
        folder.mkdir()
        for source in ("video.mp4", "image.png"):
            (folder / source).write_bytes(bytes(1000))
        processes.append(start(folder, write(folder, clips)))
    return list(map(measure, folders, processes))


def main(counts: list[int]) -> None:
    """Print two table rows per number of clips."""
    print("| clips | workflow | jobs | processor seconds | ratio | peak MB | ratio |")
    print("|---|---|---|---|---|---|---|")
    for clips in counts:
        with tempfile.TemporaryDirectory() as base:
            results = measure_both(clips, Path(base))
        _, *first = results[0]
        for name, (jobs, seconds, memory) in zip(("empty rules", "this one"), results, strict=True):
            cells = [clips, name, jobs, f"{seconds:.1f}", f"{seconds / first[0]:.2f}"]
            cells += [f"{memory:.0f}", f"{memory / first[1]:.2f}"]
            print("| " + " | ".join(map(str, cells)) + " |", flush=True)


if __name__ == "__main__":
    main([int(number) for number in sys.argv[1:]] or [1000])
