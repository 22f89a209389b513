"""What SLURM itself recorded of the jobs that were submitted from a folder."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

FIELD = re.compile(r"(?:^|\s)(\w+)=(\S*)")

GROUPS = "prepare", "finish"


@dataclass(frozen=True)
class Record:
    """One job of SLURM: its name there is the run's, its comment says rule or group, and clip."""

    number: int
    comment: str
    state: str
    minutes: int
    nodes: int
    gpus: int
    restarts: int

    @property
    def kind(self) -> str:
        """Return the group, "prepare" or "finish", or else the rule."""
        name = self.comment.removeprefix("rule_").split("_wildcards_")[0]
        return next((group for group in GROUPS if name.startswith(f"{group}_")), name)


def jobs_of(folder: Path) -> list[Record]:
    """Return the jobs submitted from `folder`, the oldest first."""
    command = ["scontrol", "show", "job", "-o"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    found = [dict(FIELD.findall(line)) for line in lines]
    return [_record(fields) for fields in found if fields.get("WorkDir") == str(folder)]


def _record(fields: dict[str, str]) -> Record:
    hours, minutes, _ = fields["TimeLimit"].rsplit("-")[-1].split(":")
    gpus = re.search(r"gpu:(\d+)", fields.get("TresPerJob", ""))
    return Record(
        number=int(fields["JobId"]),
        comment=fields.get("Comment", ""),
        state=fields["JobState"],
        minutes=60 * int(hours) + int(minutes),
        nodes=int(fields["NumNodes"].split("-")[0]),
        gpus=int(gpus[1]) if gpus else 0,
        restarts=int(fields["Restarts"]),
    )
