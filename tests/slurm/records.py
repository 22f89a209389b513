"""What SLURM itself recorded of the jobs that were submitted from a folder."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

FIELD = re.compile(r"(?:^|\s)(\w+)=(\S*)")
CLIP = re.compile(r"--target-jobs '\w+:clip=(\w+)'")

GROUPS = "prepare", "detect", "complete", "sample", "finish"
UNITS = {"M": 1, "G": 1024}


@dataclass(frozen=True)
class Record:
    """One job of SLURM: its comment says rule or group, its script the clip, if it has one."""

    number: int
    comment: str
    clip: str
    state: str
    minutes: int
    nodes: int
    gpus: int
    restarts: int
    node: str
    memory_mb: float

    @property
    def kind(self) -> str:
        """Return the group, such as "prepare" or "finish", or else the rule."""
        name = self.comment.removeprefix("rule_").split("_wildcards_")[0]
        return next((group for group in GROUPS if name.startswith(f"{group}:")), name)


def jobs_of(folder: Path) -> list[Record]:
    """Return the jobs submitted from `folder`, the oldest first."""
    command = ["scontrol", "show", "job", "-o"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    found = [dict(FIELD.findall(line)) for line in lines]
    return [_record(fields) for fields in found if fields.get("WorkDir") == str(folder)]


def _clip(job: str) -> str:
    command = ["scontrol", "write", "batch_script", job, "-"]
    script = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = CLIP.search(script)
    return found[1] if found else ""


def _record(fields: dict[str, str]) -> Record:
    hours, minutes, _ = fields["TimeLimit"].rsplit("-")[-1].split(":")
    memory = re.fullmatch(r"([\d.]+)([MG])", fields.get("MinMemoryNode", "0M"))
    gpus = re.search(r"gpu:(?:\w+:)?(\d+)", fields.get("TresPerJob", ""))
    return Record(
        number=int(fields["JobId"]),
        comment=fields.get("Comment", ""),
        clip=_clip(fields["JobId"]),
        state=fields["JobState"],
        minutes=60 * int(hours) + int(minutes),
        nodes=int(fields["NumNodes"].split("-")[0]),
        gpus=int(gpus[1]) if gpus else 0,
        restarts=int(fields["Restarts"]),
        node=fields["NodeList"],
        memory_mb=float(memory[1]) * UNITS[memory[2]] if memory else 0,
    )
