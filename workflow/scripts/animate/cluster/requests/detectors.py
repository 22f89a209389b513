"""Where a clip's detectors and picture editor run, and which stages are submitted as one job."""

from collections.abc import Iterable
from dataclasses import dataclass

from animate.config.table import Clip
from animate.pose.detector_gpu import gpu_detectors

# Of the stages that look for a person or edit pictures, the setting that names what does.
SETTINGS = {
    "keypoints": "pose_backend",
    "reference_keypoints": "pose_backend",
    "person_mask": "mask_backend",
    "excluded_mask": "mask_backend",
    "edit_reference": "retarget",
    "edit_driver": "retarget",
    "edited_pose": "pose_backend",
}
# A group with them and the detectors before them would have to wait for itself.
LATE = {"edit_reference", "edit_driver", "edited_pose"}
# Files of the user's are checked before a detector takes a GPU.
GIVEN_FIRST = {"given_keypoints", "given_pose", "given_face", "given_mask"}
SMALL = "mediapipe"


@dataclass(frozen=True)
class Detectors:
    """The detectors of all clips.

    `large` have weights of GB, `on_gpu` are those of them whose jobs ask a cluster for a GPU.
    """

    large: frozenset[str]
    on_gpu: frozenset[str]

    @classmethod
    def of_clips(
        cls, clips: Iterable[Clip], detectors: str, device: str, submits: bool
    ) -> "Detectors":
        """Return the detectors of clips, by the configuration's `detectors` and `device`.

        `submits` tells whether the run submits jobs to a cluster.
        """
        large = {
            name
            for clip in clips
            for name in (
                clip.settings.pose_backend,
                clip.settings.mask_backend,
                *(["flux"] if clip.edits else []),
            )
            if clip.model.posed
        } - {SMALL}
        on_gpu = gpu_detectors(large, detectors, device) if submits else set()
        return cls(frozenset(large), frozenset(on_gpu))

    def of_stage(self, stage: str, clip: Clip) -> str:
        """Return the name of the detector that looks for a person in a stage of a clip."""
        return getattr(clip.settings, SETTINGS[stage])

    def has_own_gpu(self, stage: str, clip: Clip) -> bool:
        """Tell whether a stage with a detector is a job of a cluster that asks for a GPU."""
        return SETTINGS[stage] not in clip.unread and self.of_stage(stage, clip) in self.on_gpu

    def submission(self, stage: str, clip: Clip) -> str:
        """Return the part of a clip's preparation that a stage is submitted with, as one job.

        "prepare" where no detector has a GPU. Otherwise what a detector does on one is a job of its
        own ("detect"), between what it needs ("prepare") and what needs it ("complete"); each of
        the stages that edit pictures, and look at them, is one by its own name.
        """
        pose = self.has_own_gpu("keypoints", clip)
        mask = clip.mode == "replace" and self.has_own_gpu("person_mask", clip)
        edit = clip.edits and self.has_own_gpu("edit_reference", clip)
        if not pose and not mask and not edit:
            return "prepare"
        if stage in SETTINGS and self.has_own_gpu(stage, clip):
            return stage if stage in LATE else "detect"
        before = {"timeline", "mask_points", *GIVEN_FIRST}
        # Only in animation something before the detectors needs the reference.
        before |= {"reference"} if clip.mode == "animate" else set()
        before |= set() if pose else {"keypoints"}
        # A reference that cannot be retargeted to is refused before a picture is edited.
        before |= {"reference_keypoints"} if edit and not pose else set()
        return "prepare" if stage in before else "complete"
