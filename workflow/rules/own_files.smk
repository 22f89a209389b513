"""Which stages are left to run where a row names own files, and what the own files are."""

from animate.config.own_files.checks import frame_files


def clips_with(column):
    """Return the wildcard pattern of the clips that name a file in a column."""
    names = [
        re.escape(name) for name, clip in CLIPS.items() if column in clip.own.columns
    ]
    return "|".join(names) or "(?!)"


def clips_without(column):
    """Return the wildcard pattern of the others."""
    return f"(?!(?:{clips_with(column)})/)[A-Za-z0-9][A-Za-z0-9._-]*"


def own_video(column):
    """Return an input function: the clip's own video of a column."""

    def of_clip(wildcards):
        return getattr(clip_of(wildcards).own, column)

    return of_clip


def own_points(wildcards):
    """Return the files of the clip's own points: one, or those of all frames."""
    path = clip_of(wildcards).own.keypoints
    return frame_files(path) if os.path.isdir(path) else [path]


def own_inputs(wildcards):
    """Return every own file of a clip."""
    columns = clip_of(wildcards).own.columns
    points = own_points(wildcards) if columns.pop("keypoints", None) else []
    return [*columns.values(), *points]


def own_columns(wildcards):
    return list(clip_of(wildcards).own.columns)


def has_points(wildcards):
    return clip_of(wildcards).has_points


def numbers_people(wildcards):
    """Tell whether the clip's points are looked for: whoever looks numbers everybody in sight."""
    return has_points(wildcards) and not clip_of(wildcards).own.keypoints


def finds_mask(wildcards):
    return clip_of(wildcards).finds_mask


def found_in_driver(wildcards):
    """Return what the model reads of the points in the driving video: pose, face, both or neither."""
    clip = clip_of(wildcards)
    given = {"pose": clip.own.pose_video, "face": clip.own.face_video}
    return [part for part, path in given.items() if clip.has_points and not path]
