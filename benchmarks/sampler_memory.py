"""Peak memory of the sampler for clips of 200 and 1,000 frames: it must not grow with the clip.

Run it from the repository's root: python benchmarks/sampler_memory.py
"""

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "workflow/scripts"), str(ROOT / "tests")]

import sampler_clip  # noqa: E402
from animate.demo.model import write_tiny_model  # noqa: E402

FRAMES = (200, 1000)
LIMIT = 1.1
# Real face crops: kept whole, the longer clip's would take 600 MB more.
FACE_SIZE = 512


def peak_memory(settings: Path) -> float:
    """Return the largest resident memory of a sampler process, in MB."""
    process = subprocess.Popen([sys.executable, ROOT / "workflow/scripts/sample.py", settings])
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit("the sampler failed")
    return usage.ru_maxrss / 1024


def main() -> None:
    """Print the table and fail when the longer clip needs more than 1.1 times the memory."""
    sampler_clip.FACE_SIZE = FACE_SIZE
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_tiny_model(folder / "model")
        peaks = []
        for frames in FRAMES:
            clip = sampler_clip.write_clip(
                folder / str(frames), folder / "model", frames, "replace", size=(96, 64)
            )
            peaks.append(peak_memory(clip))
    print("| frames | peak memory, MB | of the shortest |\n|---|---|---|")
    for frames, peak in zip(FRAMES, peaks, strict=True):
        print(f"| {frames} | {peak:.0f} | {peak / peaks[0]:.3f} |")
    if peaks[-1] > LIMIT * peaks[0]:
        sys.exit(f"memory grows with the clip: more than {LIMIT} times")


if __name__ == "__main__":
    main()
