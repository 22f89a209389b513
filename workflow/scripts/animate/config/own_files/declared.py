"""The columns that name a user's own files, and what is left for the workflow to make."""

from animate.config.fields import Declared, setting
from animate.config.models.declared import GenerationModel

VIDEO = "a path of a video with as many frames as the clip, at its rate"
# Read in mode replace only.
OF_REPLACEMENT = ("mask_video", "background_video")
EDITING = ("retarget_model", "retarget_steps", "retarget_guidance", "retarget_seed")
# The settings of the stages in whose place a column stands.
FOUND_BY = {
    "pose_video": ("smooth_pose", "draw", "line_width", "retarget", *EDITING),
    "face_video": ("smooth_face",),
    "mask_video": (
        *("mask_backend", "sam2_checkpoint", "points", "mask_steady"),
        *("mask_iterations", "mask_kernel", "mask_w_len", "mask_h_len"),
    ),
    "keypoints": ("person",),
}


class OwnFiles(Declared):
    """Columns that a table may have: a stage whose result is given does not run."""

    keypoints: str = setting(
        "",
        "Points of body, hands and face, in place of those that `pose_backend` finds",
        "a path: of a `keypoints.npz`, or of OpenPose JSON, a folder with one file for each frame"
        " of the clip or one file with a list of frames",
    )
    pose_video: str = setting("", "The skeleton as the model reads it, on black", VIDEO)
    face_video: str = setting("", "Crops of the face, square", VIDEO)
    mask_video: str = setting(
        "", "Mode `replace`: white where the model paints; it is not grown any more", VIDEO
    )
    background_video: str = setting(
        "", "Mode `replace`: the scene; it is made black where the mask is", VIDEO
    )

    def read_in(self, mode: str, model: GenerationModel) -> "OwnFiles":
        """Return the files that a clip of this mode and model reads."""
        if not model.own_files:
            return NOTHING_OWN
        if mode == "replace":
            return self
        return self.model_copy(update=dict.fromkeys(OF_REPLACEMENT, ""))

    @property
    def columns(self) -> dict[str, str]:
        """The path of each column that names one."""
        return {column: path for column, path in self if path}

    def finds_mask(self, mode: str) -> bool:
        """Return whether the person's outline is left to find."""
        return mode == "replace" and not self.mask_video

    def needs_points(self, mode: str) -> bool:
        """Return whether a stage is left that makes what the model reads of points."""
        return not (self.pose_video and self.face_video) or self.finds_mask(mode)

    def has_points(self, mode: str) -> bool:
        """Return whether there are points of the clip, found or given."""
        return bool(self.keypoints) or self.needs_points(mode)

    def finds_points(self, mode: str) -> bool:
        """Return whether the person's points are left to find."""
        return self.needs_points(mode) and not self.keypoints

    def unread(self, mode: str, reads_reference: bool) -> dict[str, str]:
        """Return the settings that no stage is left to read, each with the columns that do it.

        `reads_reference` tells whether points are found in the reference, too.
        """
        columns = self.columns
        found = {name: column for column in columns for name in FOUND_BY.get(column, ())}
        if not self.finds_points(mode):
            by = "keypoints" if self.keypoints else ", ".join(columns)
            found["person"] = by
            if not reads_reference:
                found["pose_backend"] = by
        return found


NOTHING_OWN = OwnFiles()
