"""What the gallery knows of one clip: its row of the table, and what its jobs wrote."""

from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

from animate.config.table import Clip
from animate.gallery.standing import FINISHED, Standing
from animate.results.provenance import read_json
from animate.results.templates import place_in_frame

# The videos that play in step with the result, in the order of the page.
TRACKS = {
    "driving": "Driving video",
    "src_pose": "Pose",
    "src_face": "Face",
    "src_mask": "Mask",
    "src_bg": "Background",
    "src_driving": "Driving video as the model sees it",
}


@dataclass(frozen=True)
class Entry:
    """One clip; what a file holds that is not there yet is empty."""

    clip: Clip
    standing: Standing
    folder: Path

    @cached_property
    def record(self) -> dict[str, Any]:
        """What made the result, of a clip that has one."""
        return self._json(f"{self.clip.name}.json")

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """Figures about the preprocessing."""
        return self._json("metrics.json")

    @cached_property
    def timeline(self) -> dict[str, Any]:
        """Frames, frame rate, size and shots."""
        return self._json("timeline.json")

    @cached_property
    def verdict(self) -> dict[str, Any]:
        """`state` and `sentences`."""
        return self._json("verdict.json")

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The settings that made the result, else those of the table, as JSON values."""
        return self.record.get("settings") or self.clip.settings.model_dump(mode="json")

    @property
    def shape(self) -> dict[str, Any]:
        """`frames`, `size` and `frame_rate` of the result, as far as they are known."""
        if found := self.timeline:
            made, rate = self.record.get("output", {}), found["frame_rate"]
            size = made.get("size", found["model_size"])
            return {"frames": found["frame_count"], "size": size, "frame_rate": rate}
        return {}

    @property
    def rate(self) -> float:
        """Frames per second of the clip's own videos."""
        return float(Fraction(self.shape.get("frame_rate", "25")))

    @property
    def result(self) -> Path:
        """The finished video; it may not be there."""
        return self.folder / f"{self.clip.name}.mp4"

    @property
    def place(self) -> str:
        """What the result shows of the model's frame, see `Track`."""
        return place_in_frame(self.record)

    @property
    def poster(self) -> Path | None:
        """A picture of the result, or of the driving video while there is no result."""
        pictures = (self.folder / f"{name}.jpg" for name in (self.clip.name, "driving"))
        return next((path for path in pictures if path.is_file()), None)

    def tracks(self) -> dict[str, Path]:
        """Return the videos that are there, by their titles; the result comes last."""
        masked = self.clip.mode == "replace"
        wanted = {
            title: self.folder / f"{name}.mp4"
            for name, title in TRACKS.items()
            if masked or name not in ("src_mask", "src_bg")
        }
        wanted["Result"] = self.result
        return {title: path for title, path in wanted.items() if path.is_file()}

    @property
    def sampling_seconds(self) -> float | None:
        """Seconds that the sampler took, None before."""
        seconds = self.record.get("sampling", {}).get("seconds")
        return sum(seconds.values()) if seconds else None

    @property
    def finished_at(self) -> float | None:
        """Time of the result."""
        return self.result.stat().st_mtime if self.standing.state == FINISHED else None

    def _json(self, name: str) -> dict[str, Any]:
        # A page is better without a file's content than not there.
        with suppress(OSError, ValueError):
            return read_json(self.folder / name)
        return {}
