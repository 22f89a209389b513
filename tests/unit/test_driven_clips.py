"""Clips of models that see the driving video itself: what a row means, and what is prepared."""

import itertools
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from diffusers.modular_pipelines.wan_animate_2.video_processor import WanAnimate2VideoProcessor
from PIL import Image

from animate.cluster.cost import sampling_cost, segment_seconds
from animate.cluster.nodes import Node
from animate.cluster.requests.amounts import driving_keys_mb, sampling_mb
from animate.cluster.requests.detectors import Detectors
from animate.cluster.requests.gpus import why_never
from animate.cluster.requests.resources import Requests
from animate.cluster.site import Site
from animate.cluster.work import Work, clip_work
from animate.config.checks import config_mistakes
from animate.config.configuration import Configuration
from animate.config.models.known import MODELS
from animate.config.settings import ClipSettings, SamplingSettings
from animate.config.table import read_table
from animate.demo.clips import write_demo
from animate.pose.keypoints import EMPTY, Keypoints
from animate.results.framing import Place, framing_figures, framing_problems, place_of
from animate.video.files import read_segment, video_info
from animate.video.framed import DRIVING, REFERENCE, bars, framed, inner_size
from animate.video.timeline import make_timeline, model_size
from stages import stage

CONFIG = Path(__file__).parents[2] / "config/config.yaml"
PRESETS = yaml.safe_load(CONFIG.read_text("utf-8"))["presets"]
PROMPT = "人物外观描述：红色机器人。背景描述：白色房间。"
HD = Work(81, True, 1280 * 720, 81, 1, 10, 0, 1, "bf16", "bf16")


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    write_demo(folder)
    return folder


def table_of(folder, columns, *rows, **config):
    """Return the table of clips `a`, `b`, ... of the demo, with more columns."""
    lines = [f"clip,video,reference,mode,{columns}"]
    names = "abcdefgh"
    for name, row in zip(names, rows, strict=False):
        mode, _, cells = row.partition(" ")
        lines.append(f"{name},driving.mp4,character.png,{mode},{cells}")
    (folder / "clips.csv").write_text("\n".join(lines) + "\n", "utf-8")
    values = {"presets": PRESETS} | config
    return read_table(folder / "clips.csv", Configuration(**values))


def test_unread_settings_are_settings_and_presets_state_good_values():
    for model in MODELS.values():
        assert model.unread <= set(ClipSettings.model_fields), model.name
        assert ClipSettings(**model.preset).given() == model.preset
        assert not model.preset.keys() & {"model", "preset", *model.unread}


def test_a_model_brings_its_preset_and_the_row_stands_over_it(demo):
    table = table_of(
        demo,
        "model,preset,steps,prompt",
        "animate ,,,",
        f"animate wan-animate-2,,,{PROMPT}",
        f"animate wan-animate-2-distilled,,7,{PROMPT}",
        f"animate wan-animate-2,draft,,{PROMPT}",
        f"animate ,wan-animate-2-distilled,,{PROMPT}",
        f"animate tiny-2,,,{PROMPT}",
    )
    assert not table.row_mistakes
    found = {name: clip.settings for name, clip in table.clips.items()}
    shown = {
        name: (s.model, s.preset, s.fps, s.segment_frames, s.steps, s.guidance_scale, s.solver)
        for name, s in found.items()
    }
    assert shown == {
        "a": ("wan2.2-animate-14b", "standard", "30", 77, 20, 1.0, "unipc"),
        "b": ("wan-animate-2", "wan-animate-2", "24", 81, 40, 3.0, "dpm++"),
        "c": ("wan-animate-2-distilled", "wan-animate-2-distilled", "24", 81, 7, 1.0, "dpm++"),
        "d": ("wan-animate-2", "draft", "24", 49, 15, 1.0, "dpm++"),
        "e": ("wan-animate-2-distilled", "wan-animate-2-distilled", "24", 81, 10, 1.0, "dpm++"),
        "f": ("tiny-2", "standard", "30", 77, 20, 1.0, "unipc"),
    }
    scales = {name: s.sampling("models")["log_scale"] for name, s in found.items()}
    assert scales == {"a": 0.0, "b": 0.0, "c": -1.3, "d": 0.0, "e": -1.3, "f": 0.0}


# As config.yaml had them, until they came with the models.
STATED = r"""
wan-animate-2: &wan-animate-2
  model: wan-animate-2
  fps: 24
  segment_frames: 81
  conditioning_frames: 1
  solver: dpm++
  shift: 5
  steps: 40
  guidance_scale: 3.0
  negative_prompt: "过曝，静态，细节模糊不清，字幕，静止，整体发灰，最差质量，低质量，\
    JPEG压缩残留，丑陋的，残缺的，多余的手指，画得不好的手部，\
    画得不好的脸部，畸形的，毁容的，形态畸形的肢体，手指融合，静止不动的画面，三条腿"
wan-animate-2-distilled:
  <<: *wan-animate-2
  model: wan-animate-2-distilled
  steps: 10
  guidance_scale: 1.0
"""
OF_ALL_KINDS = (
    "model,preset,steps,prompt",
    f"animate wan-animate-2,,,{PROMPT}",
    f"animate wan-animate-2-distilled,,7,{PROMPT}",
    f"animate wan-animate-2,draft,,{PROMPT}",
    f"animate ,wan-animate-2-distilled,,{PROMPT}",
    f"animate wan-animate-2-distilled,wan-animate-2,,{PROMPT}",
    f"animate tiny-2,,,{PROMPT}",
    "animate ,,,",
)


def test_a_config_that_states_the_presets_of_the_models_means_what_it_meant(demo):
    """So nothing runs again, whether they stand in the user's file or not."""
    stated = {**PRESETS, **yaml.safe_load(STATED)}
    for defaults in ({}, {"preset": "wan-animate-2"}, {"preset": "draft", "shift": 3.0}):
        defaults["prompt"] = PROMPT
        with_them, without = (
            table_of(demo, *OF_ALL_KINDS, presets=presets, defaults=defaults)
            for presets in (stated, PRESETS)
        )
        assert len(with_them.clips) == 7
        assert [clip.settings.given() for clip in with_them.clips.values()] == [
            clip.settings.given() for clip in without.clips.values()
        ]


def test_a_model_s_preset_holds_with_a_config_that_has_none_or_a_part_of_it(demo):
    mine = {"wan-animate-2": {"steps": 30}, "wan-animate-2-distilled": {}}
    shown = []
    for presets in ({}, {"standard": {"steps": 20, "guidance_scale": 1.0}}, mine):
        rows = (f"animate {name},{PROMPT}" for name in MODELS if name.startswith("wan-animate-2"))
        clips = table_of(demo, "model,prompt", *rows, presets=presets).clips.values()
        stated = [clip.settings for clip in clips]
        assert {(s.solver, s.shift, s.fps, s.segment_frames) for s in stated} == {
            ("dpm++", 5.0, "24", 81)
        }
        assert all("三条腿" in s.negative_prompt for s in stated)
        shown.append([(s.preset, s.steps, s.guidance_scale) for s in stated])
    names = "wan-animate-2", "wan-animate-2-distilled"
    assert shown[0] == shown[1] == [(names[0], 40, 3.0), (names[1], 10, 1.0)]
    assert shown[2] == [(names[0], 30, 3.0), (names[1], 10, 1.0)]


def test_the_preset_of_a_model_can_be_named_with_any_config(demo):
    values = {"presets": {}, "defaults": {"preset": "wan-animate-2-distilled", "prompt": PROMPT}}
    assert config_mistakes(values) == []
    table = table_of(demo, "preset", "animate ", "animate wan-animate-2", "animate ultra", **values)
    assert [clip.model.name for clip in table.clips.values()] == [
        "wan-animate-2-distilled",
        "wan-animate-2",
    ]
    assert "known are wan-animate-2, wan-animate-2-distilled" in table.row_mistakes[4][0]


def test_the_key_model_is_that_of_rows_without_one(demo):
    config = {"model": "wan-animate-2", "defaults": {"prompt": PROMPT}}
    table = table_of(demo, "model", "animate ", "replace tiny", **config)
    assert [clip.model.name for clip in table.clips.values()] == ["wan-animate-2", "tiny"]
    assert table.clips["a"].settings.steps == 40


def test_defaults_stand_over_the_preset_of_the_model(demo):
    rows = f"animate wan-animate-2,{PROMPT}", "animate wan2.2-animate-14b,"
    shown = []
    for defaults in ({"steps": 22, "fps": 25}, {"preset": "wan-animate-2"}):
        clips = table_of(demo, "model,prompt", *rows, defaults=defaults).clips.values()
        shown += [(s.preset, s.fps, s.steps, s.solver) for s in (clip.settings for clip in clips)]
    assert shown == [
        ("wan-animate-2", "25", 22, "dpm++"),
        ("standard", "25", 22, "unipc"),
        # The preset of another model is not this one's.
        ("wan-animate-2", "24", 40, "dpm++"),
        ("standard", "30", 20, "unipc"),
    ]


def test_a_clip_hands_its_sampler_nothing_that_its_model_does_not_read(demo):
    columns = "model,relighting_lora,log_scale,prompt"
    table = table_of(
        demo, columns, f"animate tiny-2,true,-2,{PROMPT}", f"replace tiny,true,-2,{PROMPT}"
    )
    driven, posed = (clip.settings.sampling("models") for clip in table.clips.values())
    assert (driven["relighting_lora"], driven["log_scale"]) == ("auto", -2)
    assert (posed["relighting_lora"], posed["log_scale"]) == (True, 0)


def test_attention_in_8_bits_is_refused_for_a_small_model(demo):
    table = table_of(
        demo, "model,attention,prompt", f"animate tiny-2,8bit,{PROMPT}", "animate ,8bit,"
    )
    assert list(table.clips) == ["b"]
    assert "column 'attention': 8bit cannot be used with model tiny-2" in table.row_mistakes[2][0]


def test_what_a_driven_row_cannot_have_is_refused_in_its_row(demo):
    table = table_of(
        demo,
        "model,prompt,continue_from",
        f"replace wan-animate-2,{PROMPT},",
        "animate wan-animate-2-distilled,,",
        f"animate tiny-2,{PROMPT},d",
        "animate tiny,,",
    )
    assert list(table.clips) == ["d"]
    refused = {row: " ".join(lines) for row, lines in table.row_mistakes.items()}
    assert "column 'mode': model wan-animate-2 has no mode replace" in refused[2]
    assert "column 'prompt': missing" in refused[3] and "人物外观描述：LOOKS" in refused[3]
    assert "description of the background" in refused[3]
    assert "column 'continue_from': clip 'd' has model tiny" in refused[4]


def test_prompts_from_the_clips_begin_on_are_a_prompt(demo):
    table = table_of(demo, "model,prompts", f'animate tiny-2,"0: {PROMPT}; 1: {PROMPT}"')
    assert not table.row_mistakes


def test_settings_and_files_that_only_the_first_model_reads_are_said_to_be_ignored(demo):
    table = table_of(
        demo,
        "model,prompt,retarget,pose_strength,pose_video,mask_backend,log_scale",
        f"animate tiny-2,{PROMPT},basic,0.5,driving.mp4,sam2,-1",
        "animate tiny,,basic,0.5,driving.mp4,,-1",
    )
    assert not table.row_mistakes
    mine = {text for text, names in table.ignored.items() if "a" in names}
    columns = ("retarget", "pose_strength", "mask_backend", "pose_video")
    assert mine == {f"'{name}', which is not read with model tiny-2" for name in columns}
    assert "'log_scale', which is not read with model tiny" in table.ignored
    clip = table.clips["a"]
    assert not clip.own.columns and not clip.retargets and not clip.has_points
    assert not clip.compares_limbs and "pose_backend" in clip.unread


def test_stages_are_told_nothing_that_their_model_does_not_read():
    """As before there was another model, so that no finished clip is sampled again."""
    texts = {name: ClipSettings(model=name).text_for(SamplingSettings) for name in MODELS}
    posed, driven = json.loads(texts["tiny"]), json.loads(texts["tiny-2"])
    assert set(posed) - set(driven) == {"pose_strength", "face_strength", "relighting_lora"}
    assert set(driven) - set(posed) == {"log_scale"}
    everything = json.loads(ClipSettings().text_for(ClipSettings))
    assert not {"model", "driving_prompt", "log_scale"} & set(everything)


@pytest.mark.parametrize("source", [(480, 270), (271, 480), (160, 96), (33, 200)])
@pytest.mark.parametrize("size", [(96, 160), (160, 96), (128, 128)])
def test_pictures_are_framed_as_in_training(source, size):
    width, height = source
    picture = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    black = picture.size and bars(source, size)
    for resampling, name in ((REFERENCE, "bicubic"), (DRIVING, "bilinear")):
        theirs = WanAnimate2VideoProcessor(resample=name)
        expected = theirs._resize_and_fill(Image.fromarray(picture), *size)
        found = framed(picture, size, resampling)
        assert np.array_equal(found, np.asarray(expected))
    assert (found == 0).all(axis=2).mean() == pytest.approx(black, abs=0.01)


def test_a_step_costs_what_was_measured_and_guidance_doubles_it():
    pace = MODELS["wan-animate-2"].speed
    one = segment_seconds(replace(HD, steps=11), 81, pace) - segment_seconds(HD, 81, pace)
    assert one == pytest.approx(12.9, rel=0.01)
    first = segment_seconds(replace(HD, steps=0), 81, pace)
    posed = segment_seconds(replace(HD, steps=0), 81)
    assert first - posed == pytest.approx(11.4, rel=0.01)
    costs = [sampling_cost(w, 1, 1, "wan-animate-2", 0) for w in (HD, replace(HD, guided_steps=10))]
    assert costs[1].seconds - costs[0].seconds == pytest.approx(129, rel=0.01)


def test_a_job_asks_for_the_driving_video_s_keys_where_its_gpus_have_no_room_for_them():
    work, model = replace(HD, kind="driven"), "wan-animate-2"

    def asked(work: Work, gpus: int = 1, model: str = model, **site) -> int:
        return driving_keys_mb(work, gpus, Site(**site), model)

    # 40 blocks keep a key and a value of 5120 numbers in bf16 for each of 21 x 3600 tokens.
    whole = 40 * 2 * 5120 * 2 * 21 * 3600 / 1e6
    assert whole <= asked(work) < whole + 1
    assert asked(work, gpu_memory_gb=8) == asked(work, gpu_memory_gb=24) == asked(work)
    assert asked(work, gpu_memory_gb=141) == asked(work, 2) == 0
    # Two smaller GPUs share the weights before the keys wait in host memory.
    assert asked(work, 2, gpu_memory_gb=66) == 0 < asked(work, 2, gpu_memory_gb=48)
    small = replace(work, pixels=832 * 464)
    assert asked(small) == 0 < asked(small, gpu_memory_gb=48) < whole / 2
    assert asked(work, model="tiny-2") == asked(HD, model="wan2.2-animate-14b") == 0
    # Each of two nodes has its half.
    keys = asked(work, 8, gpu_memory_gb=16)
    assert sampling_mb(4, model, 1, keys_mb=keys // 2) - sampling_mb(4, model, 1) == keys // 2
    node = Node("gpu", {"": 8}, 64, 100_000, frozenset())
    assert why_never(1, Site(), model, [node]) == ""
    refused = why_never(1, Site(), model, [node], keys_mb=asked(work))
    assert "115932 MB of memory of one node" in refused


def test_each_node_of_a_sampler_is_asked_for_its_part_of_the_keys(demo):
    columns = "model,prompt,gpus,resolution_area,segment_fit"
    driven, posed = f"wan-animate-2,{PROMPT}", "wan2.2-animate-14b,"
    size = "1280x720,pad"
    rows = [f"animate {model},{n},{size}" for model in (driven, posed) for n in (1, 8)]
    table = table_of(demo, columns, *rows)
    assert not table.row_mistakes
    requests = Requests(
        site=Site(gpus_per_node=4, gpu_memory_gb=16),
        submitted=True,
        counted="gpu",
        detectors=Detectors(frozenset(), frozenset()),
        clips=table.clips,
        clip_of=lambda wildcards: table.clips[wildcards.clip],
        work_of=lambda wildcards: clip_work(table.clips[wildcards.clip], "results"),
        auto_gpus=lambda: 1,
        most_mb=lambda: None,
        detector_bytes=lambda setting, clip: {},
    )
    memory = requests.gpu_job()["mem_mb"]
    asked = [memory(SimpleNamespace(clip=clip), attempt=1) for clip in table.clips]
    assert asked[2:] == [54_000, 72_000]
    more = [one - other for one, other in zip(asked[:2], asked[2:], strict=True)]
    assert more == [61_932, 61_932 // 2]


@pytest.mark.parametrize("area", [1280 * 720, 832 * 480])
def test_the_reference_fills_its_frame_but_for_strips(area):
    for width, height in itertools.product(range(400, 2000, 37), repeat=2):
        shape = max(width / height, height / width)
        if shape <= 2:
            size = model_size(width, height, area)
            inner = inner_size((width, height), size)
            strip = max(outer - own for outer, own in zip(size, inner, strict=True)) / 2
            # docs/wan-animate-2.md: 15 pixels at shapes up to 16:9.
            assert strip <= 8 * shape + 0.5


def person(top: float, scale: float = 1.0, parts: int = 20) -> Keypoints:
    """Return somebody who stands upright, the first `parts` of the body's points found."""
    body = np.array(EMPTY[0])
    for point, (x, y) in {2: (-0.1, 0), 5: (0.1, 0), 8: (-0.07, 0.3), 11: (0.07, 0.3)}.items():
        body[point] = 0.5 + scale * x, top + scale * y, 1
    if parts > 13:
        body[[9, 12, 10, 13]] = 0.5, top + scale * 0.5, 1
    one = np.ones(1, bool)
    others = (part[None] for part in EMPTY[1:])
    return Keypoints(body[None], *others, one, np.ones(1, np.int32), ~one, ~one)


def test_framing_that_differs_is_named_and_framing_alike_is_not():
    size = 480, 640
    alike = [place_of(person(0.3), size), place_of(person(0.32), size)]
    figures = framing_figures(0.02, *alike)
    assert figures == {"driving_bars": 0.02, "person_size": 1.0, "person_offset": 0.02}
    assert not framing_problems(figures, *alike, (size, size))
    unlike = [place_of(person(0.6, 0.5), size), place_of(person(0.2, 1, parts=12), size)]
    figures = framing_figures(0.4, *unlike)
    problems = framing_problems(figures, *unlike, ((1280, 720), (720, 1280)))
    assert set(problems) == {"bars", "size", "place", "cut"}
    assert "1280x720" in problems["bars"] and "40%" in problems["bars"]
    assert figures["person_size"] == 0.5 and "0.5 times as large" in problems["size"]
    assert "down to the feet" in problems["cut"] and "down to the hips" in problems["cut"]
    nobody = framing_problems({"driving_bars": 0}, None, Place((0, 0), 0.1, None, "hips"), ())
    assert list(nobody) == ["nobody"] and "driving video's first frame" in nobody["nobody"]


def test_driving_frames_have_the_timelines_frames_in_the_models_size(demo, tmp_path):
    timeline = make_timeline(
        demo / "driving.mp4", resolution_area=128 * 128, fps="24", end=0.5, frame_shape=(3, 4)
    )
    timeline.to_json(tmp_path / "timeline.json")
    video, first = tmp_path / "src_driving.mp4", tmp_path / "src_driving.png"
    times = {"timeline": tmp_path / "timeline.json"}
    stage("driving_frames", None, video=demo / "driving.mp4", output=video, first=first, **times)
    info = video_info(video)
    assert (info.frame_count, info.frame_rate, info.size) == (11, 24, timeline.model_size)
    frame, picture = read_segment(video, 0, 1)[0], np.asarray(Image.open(first))
    assert np.abs(frame.astype(int) - picture).mean() < 3
    # Bars above and below, as the video is wider than the frame.
    assert not picture[0].any() and not picture[-1].any() and picture[:, 0].any()
    picture, frame = demo / "character.png", tmp_path / "frame.png"
    stage("reference_frame", None, reference=picture, output=frame, **times)
    assert Image.open(frame).size == timeline.model_size
    settings = ClipSettings(model="tiny-2")
    both = {"driving": video, "first": first, "reference": picture, "reference_frame": frame}
    written = {"sheet": tmp_path / "preview.png", "metrics": tmp_path / "metrics.json"}
    stage("driven_preview", settings, **both, **written, **times)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["frames"] == 11 and metrics["driving_bars"] > 0.1
    assert "bars" in metrics["framing_problems"] and "person_size" in metrics
    assert Image.open(tmp_path / "preview.png").width == 1760


def test_exact_attention_is_as_if_there_were_no_other():
    texts = [
        json.loads(ClipSettings(attention=kind).text_for(SamplingSettings))
        for kind in ("exact", "8bit")
    ]
    assert texts[1] == texts[0] | {"attention": "8bit"} and "attention" not in texts[0]
    assert ClipSettings().sampling("models")["attention"] == "exact"
