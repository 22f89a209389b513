"""Which files of a clip no seed changes: those from before its sampler."""

from snakemake.io import strip_wildcard_constraints

# By name, as rules are called within a module, too. A rule that is not here runs for each seed.
PREPARING = (
    *("timeline", "sound", "reference", "reference_features", "driving"),
    *("keypoints", "reference_keypoints", "pose_video", "face_video"),
    *("edit_reference", "edit_driver", "edited_pose"),
    *("mask_points", "person_mask", "excluded_mask", "mask", "background"),
    *("given_keypoints", "given_pose", "given_face", "given_mask", "given_background"),
    *("export_clip_keypoints", "preview", "preview_video", "verdict"),
    *("driving_frames", "reference_frame", "driving_features"),
    *("driven_preview", "driven_preview_video"),
)


def files_of(rule):
    """Return the names of the files that a rule makes of a clip."""
    outputs = getattr(rules, rule).rule.output
    return {os.path.basename(strip_wildcard_constraints(path)) for path in outputs}


SEEDLESS_FILES = sorted(set.union(*map(files_of, PREPARING)))
for preparing in PREPARING:
    workflow.ruleorder("seed_file", preparing)
