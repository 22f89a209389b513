"""Whether a clip's preparation is good enough to be sampled, in sentences that say what to do."""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from animate.atomic import atomic_output
from animate.config.settings import VerdictSettings
from animate.editing.outcome import UNEDITED
from animate.results.provenance import read_json
from animate.results.verdict_states import BAD, GOOD, NOT_JUDGED, WARNING
from animate.video.timeline import Timeline

# A warning begins at this share of the fault that is allowed.
WARNED = 0.5
# Limbs that differ by more, against the rest of the body, are worth retargeting.
LIMB_DIFFERENCE = 1.2


@dataclass(frozen=True)
class Measure:
    """A figure of metrics.json, what it says in words, and what to do about it.

    `own` is what to do where it is one of the user's own points.
    """

    figure: str
    says: str
    worst: str
    advice: str
    own: str = ""
    # How often something is in ten seconds; other figures are shares of the frames.
    counts: bool = False

    def fault(self, value: float) -> float:
        """Return how far a figure is from the perfect one."""
        return value if self.counts else 1 - value

    def text(self, value: float) -> str:
        """Return a figure, or a threshold, as it is read."""
        return f"{value:g}" if self.counts else f"{100 * value:.4g}%"


MEASURES = {
    "body": Measure(
        "body",
        "The person is found in {} of the frames",
        "longest without",
        "choose seconds that show the person well with start and end{pose}",
        "correct the points that keypoints names, or choose other seconds with start and end",
    ),
    "face": Measure(
        "face",
        "A face is seen in {} of the frames",
        "longest without",
        "film the face larger and from the front, or ask for face=0 where no expression is needed",
        "add the face to the points that keypoints names, or name a face_video, or ask for face=0"
        " where no expression is needed",
    ),
    "mask": Measure(
        "mask",
        "There is a mask in {} of the frames, and the others stay as they are",
        "longest without",
        "choose seconds that show the person throughout with start and end, or name a corrected"
        " mask in mask_video{mask}",
    ),
    "plausible": Measure(
        "plausible",
        "{} of the bodies that were found hold as a body",
        "longest doubt",
        "name the one who is meant in person, or take a clearer video{pose}",
        "correct the points that keypoints names",
    ),
    "blinks": Measure(
        "blinks",
        "Hands or hips vanish for a moment {} times in ten seconds",
        "most",
        "keep hands inside the frame and sharp{pose}",
        "correct the points that keypoints names",
        counts=True,
    ),
    "edited": Measure(
        "edited",
        "{} of the two edited pictures show a pose that can be measured",
        "",
        "look at retarget_reference.png and retarget_driver.png, try another retarget_seed, or set"
        " retarget: basic",
    ),
    "cuts": Measure(
        "cut_rate",
        "The clip is cut {} times in ten seconds, and each shot starts afresh",
        "most",
        "give each person and scene a row with start and end, or set cuts: ignore where nothing is"
        " cut",
        counts=True,
    ),
}
# What to do where there was no picture to edit.
UNEDITED_ADVICE = (
    f"{UNEDITED}; choose seconds that show them with start and end, or set retarget: basic"
)


@dataclass(frozen=True)
class Verdict:
    """`state` is good, warning, bad or not judged; `sentences` say why, the worst first."""

    state: str
    sentences: list[str]

    def to_json(self, path: Path) -> None:
        """Write verdict.json."""
        with atomic_output(path) as temporary:
            text = json.dumps(asdict(self), indent=1, ensure_ascii=False)
            temporary.write_text(text + "\n", "utf-8")

    @classmethod
    def from_json(cls, path: Path) -> "Verdict":
        """Read what `to_json` wrote."""
        return cls(**read_json(path))


def judge(
    metrics: Mapping[str, Any],
    settings: VerdictSettings,
    timeline: Timeline,
    limbs: Mapping[str, float],
    given: Collection[str] = (),
) -> Verdict:
    """Return the verdict on a clip.

    A figure on the wrong side of its threshold is bad. From half the fault that the threshold
    allows it is a warning: with `body: 0.8`, below 0.9; with `blinks: 5`, above 2.5. What
    `metrics`, the content of metrics.json, lacks is not judged; framing that differs is a warning.
    `limbs` are those of `limb_ratios`, empty where the pose is not compared with the reference;
    `given` are the columns of the user's own files, which no backend can better.
    """
    if not settings.require.asks:
        return Verdict(NOT_JUDGED, [])
    asked = _asked(settings)
    known = {name: limit for name, limit in asked.items() if MEASURES[name].figure in metrics}
    if not known and not metrics.get("framing_problems"):
        return Verdict(NOT_JUDGED, [])
    faults = dict(_faults(metrics, known))
    bad = [name for name, fault in faults.items() if fault > 1]
    worst = sorted(faults, key=faults.__getitem__, reverse=True)
    sentences = [
        _sentence(name, faults[name], metrics, known[name], settings, timeline, given)
        for name in worst
    ]
    sentences += _limb_sentences(limbs)
    sentences += metrics.get("framing_problems", {}).values()
    if "edited" not in known and metrics.get("edited", 1) < 1:
        sentences.append(
            "An edited picture shows no pose that can be measured, so the clip is retargeted as"
            f" with retarget: basic: {_advice('edited', metrics, given)}."
        )
    return Verdict(BAD if bad else WARNING if sentences else GOOD, sentences)


def _asked(settings: VerdictSettings) -> dict[str, float]:
    """Return the thresholds that are asked for."""
    asked = {name: limit for name, limit in settings.require if limit is not None}
    if settings.cuts == "ignore":
        asked.pop("cuts", None)
    # At least nothing is no threshold.
    return {name: limit for name, limit in asked.items() if limit or MEASURES[name].counts}


def _faults(metrics: Mapping[str, Any], known: Mapping[str, float]) -> Iterator[tuple[str, float]]:
    """Yield the measures to be named, each with its fault; 1 is just allowed."""
    for name, limit in known.items():
        measure = MEASURES[name]
        fault, allowed = measure.fault(metrics[measure.figure]), measure.fault(limit)
        # Where no fault is allowed, any is bad.
        share = round(fault / max(allowed, 1e-6), 4)
        if share > WARNED:
            yield name, share


def _sentence(
    name: str,
    share: float,
    metrics: Mapping[str, Any],
    limit: float,
    settings: VerdictSettings,
    timeline: Timeline,
    given: Collection[str],
) -> str:
    measure = MEASURES[name]
    value = metrics[measure.figure]
    side = "more than" if measure.counts else "less than"
    compared = side if share > 1 else "near"
    span = metrics["worst"].get(name)
    where = f" ({measure.worst} {timeline.clock(*span)})" if span else ""
    # What is not the best there is has something better to advise.
    pose = ", or set pose_backend: vitpose" if settings.pose_backend == "mediapipe" else ""
    mask = ", or set mask_backend: sam2" if settings.mask_backend == "mediapipe" else ""
    advice = _advice(name, metrics, given).format(pose=pose, mask=mask)
    return (
        f"{measure.says.format(measure.text(value))}, {compared} the {measure.text(limit)} of"
        f" require {name}{where}: {advice}."
    )


def _advice(name: str, metrics: Mapping[str, Any], given: Collection[str]) -> str:
    measure = MEASURES[name]
    if name == "edited" and UNEDITED in metrics.get("edit_problems", {}).values():
        return UNEDITED_ADVICE
    return measure.own if measure.own and "keypoints" in given else measure.advice


def _limb_sentences(limbs: Mapping[str, float]) -> Iterator[str]:
    """Yield the recommendation to retarget, where a limb differs."""
    unlike = {limb: max(ratio, 1 / ratio) for limb, ratio in limbs.items()}
    limb = max(unlike, key=unlike.__getitem__, default=None)
    if limb is not None and unlike[limb] > LIMB_DIFFERENCE:
        yield (
            f"Against the rest of the body, the {limb} of the reference are {limbs[limb]:.2g} times"
            " as long as those of the driving person: set retarget: basic, unless the picture only"
            " foreshortens them."
        )
