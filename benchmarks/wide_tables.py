"""Time and memory of a dry run over many clips, against rules that do nothing.

python benchmarks/wide_tables.py 1000 10000
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
MODES = "animate", "replace"
# A clip's rules as Snakemake sees them: name, inputs among its files, whether in both modes.
RULES = (
    ("reference", (), True),
    ("timeline", ("reference",), True),
    ("keypoints", ("timeline",), True),
    ("pose_video", ("timeline", "keypoints"), True),
    ("face_video", ("timeline", "keypoints"), True),
    ("person_mask", ("timeline", "keypoints"), False),
    ("mask", ("person_mask",), False),
    ("background", ("timeline", "mask"), False),
    ("preview", ("timeline", "keypoints", "pose_video", "person_mask", "mask"), True),
    ("sample", ("pose_video", "face_video", "reference"), True),
    ("mux", ("sample", "timeline"), True),
    ("provenance", ("timeline", "sample", "mux"), True),
    ("page", ("timeline", "pose_video", "reference", "mux", "provenance", "preview"), True),
)

FINISH = "mux", "provenance", "page"


def write_empty(folder: Path, clips: int) -> list[str]:
    """Write the workflow of rules that do nothing; return the options that dry-run it."""
    both = {name for name, _, always in RULES if always}
    lines = [
        f"CLIPS = [f'clip{{n}}' for n in range({clips})]",
        "def replaces(name):",
        "    return lambda w: f'{w.clip}/{name}' if int(w.clip[4:]) % 2 else []",
        "rule all:",
        "    input: expand('{clip}/{name}', clip=CLIPS, name=['mux', 'provenance', 'page'])",
    ]
    for name, inputs, _ in RULES:
        group = "finish" if name in FINISH else name if name == "sample" else "prepare"
        inputs += ("background", "mask") if name == "sample" else ()
        files = [f"'{{clip}}/{x}'" if x in both else f"replaces({x!r})" for x in inputs]
        lines += [f"rule {name}:", *([f"    input: {', '.join(files)}"] if files else [])]
        lines += [f"    output: '{{clip}}/{name}'", f"    log: 'logs/{name}/{{clip}}.log'"]
        lines += ["    conda: 'environment.yaml'", f"    group: '{group}'"]
        lines += ["    resources: runtime=1, mem_mb=1, cpus_per_task=1", "    shell: 'true'"]
    (folder / "Snakefile").write_text("\n".join(lines) + "\n")
    (folder / "environment.yaml").write_text("dependencies: []\n")
    return ["--cores", "4", "--scheduler", "greedy", "--rerun-incomplete"]


def write_ours(folder: Path, clips: int) -> list[str]:
    """Write a table of that many clips; return the command that dry-runs this workflow."""
    (folder / "config").mkdir()
    (folder / "config/config.yaml").write_text((ROOT / "config/config.yaml").read_text())
    (folder / "video.mp4").write_bytes(bytes(1000))
    (folder / "image.png").write_bytes(bytes(1000))
    rows = ["clip,video,reference,mode"]
    rows += [f"clip{n},../video.mp4,../image.png,{MODES[n % 2]}" for n in range(clips)]
    (folder / "config/clips.csv").write_text("\n".join(rows) + "\n")
    options = ["--snakefile", str(ROOT / "Snakefile"), "--config", "model=tiny"]
    return [*options, "--cores", "4", "--scheduler", "greedy", "--rerun-incomplete"]


def measure(folder: Path, options: list[str]) -> tuple[float, float, int]:
    """Return processor seconds and peak MB of a dry run, and the jobs that it would run."""
    console = folder / "console.txt"
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--quiet", "rules", *options]
    with console.open("w") as file:
        process = subprocess.Popen(command, cwd=folder, stdout=file, stderr=file)
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(console.read_text()[-2000:])
    total = next(line for line in console.read_text().splitlines() if line.startswith("total"))
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, int(total.split()[1])


def main(counts: list[int]) -> None:
    """Print one table row per number of clips and workflow."""
    print("| clips | workflow | jobs | processor seconds | ratio | peak MB | ratio |")
    print("|---|---|---|---|---|---|---|")
    for clips in counts:
        first = None
        for name, write in (("empty rules", write_empty), ("this one", write_ours)):
            with tempfile.TemporaryDirectory() as folder:
                seconds, memory, jobs = measure(Path(folder), write(Path(folder), clips))
            first = first or (seconds, memory)
            cells = [clips, name, jobs, f"{seconds:.1f}", f"{seconds / first[0]:.2f}"]
            cells += [f"{memory:.0f}", f"{memory / first[1]:.2f}"]
            print("| " + " | ".join(map(str, cells)) + " |", flush=True)


if __name__ == "__main__":
    main([int(number) for number in sys.argv[1:]] or [1000])
