"""The table and the configuration: what is accepted, and the sentence for each mistake."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from animate.config.checks import config_mistakes
from animate.config.configuration import Configuration
from animate.config.documents import DECLARATIONS
from animate.config.resolve import resolve
from animate.config.settings import ClipSettings
from animate.config.table import read_table
from document_settings import documents

ROOT = Path(__file__).parents[2]
HEADER = "clip,video,reference,mode"
GOOD = "dance,driving.mp4,character.png,animate"


@pytest.fixture
def config():
    return yaml.safe_load((ROOT / "config/config.yaml").read_text("utf-8"))


@pytest.fixture
def read(tmp_path, config):
    for name in ("driving.mp4", "character.png", "Vidéo nº 1 日本.mp4"):
        (tmp_path / name).touch()

    def write_and_read(text, encoding="utf-8", **changes):
        path = tmp_path / "clips.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
        return read_table(path, Configuration(**config | changes))

    return write_and_read


def only_mistake(table):
    (mistake,) = table.all_mistakes()
    return mistake


def test_row_is_resolved_from_its_cells_its_preset_and_the_defaults(read):
    table = read(f"{HEADER},preset,steps,seed\n{GOOD},draft,,7\n")
    settings = table.clips["dance"].settings
    assert table.all_mistakes() == []
    assert (settings.segment_frames, settings.steps, settings.seed) == (49, 15, 7)
    assert settings.solver == "unipc"


def test_several_seeds_are_clips_that_differ_in_nothing_else(read):
    table = read(f"{HEADER},seed,steps\n{GOOD},2..4,7\n{GOOD.replace('dance', 'walk')},5,7\n")
    assert table.all_mistakes() == []
    assert list(table.clips) == ["dance", "dance~seed3", "dance~seed4", "walk"]
    first, *others = [table.clips[name] for name in ("dance", "dance~seed3", "dance~seed4")]
    assert [clip.settings.seed for clip in (first, *others)] == [2, 3, 4]
    for clip in others:
        settings = clip.settings.model_copy(update={"seed": 2})
        assert replace(clip, name="dance", settings=settings) == first
    # What is wrong with a row is wrong with all its seeds.
    table.refuse(others[0], "gpus", "too many")
    assert list(table.clips) == ["walk"] and list(table.row_mistakes) == [2]


@pytest.mark.parametrize("cell", ["4..1", "1..", "1..101", "1...3", f"1..{2**63}"])
def test_seeds_that_are_none(read, cell):
    sentence = only_mistake(read(f"{HEADER},seed\n{GOOD},{cell}\n"))
    assert "column 'seed'" in sentence and "such as 1..4" in sentence


def test_row_beats_its_preset_and_its_preset_beats_the_defaults(config):
    config["defaults"] |= {"steps": 12}
    config = Configuration(**config)
    assert resolve({}, config).steps == 12
    assert resolve({"preset": "quality"}, config).steps == 30
    assert resolve({"preset": "quality", "steps": 3}, config).steps == 3


@pytest.mark.parametrize(("preset", "steps"), [("turbo", 4), ("fast", 6)])
def test_few_step_presets_keep_their_lora_beside_those_of_the_row(read, tmp_path, preset, steps):
    (tmp_path / "style.safetensors").touch()
    cells = f'{GOOD},{preset},"[{{path: style.safetensors}}]"'
    settings = read(f"{HEADER},preset,loras\n{cells}\n").clips["dance"].settings
    assert (settings.solver, settings.step_count, settings.shift) == ("euler", steps, 5.0)
    assert settings.guided_steps == 0
    distilled, own = settings.sampling("models")["loras"]
    assert distilled["path"].startswith(
        "models/loras/lightx2v/Wan2.1-Distill-Loras/main/wan2.1_i2v"
    )
    assert Path(own["path"]) == tmp_path / "style.safetensors"
    known = yaml.safe_load((ROOT / "config/models.lock.yaml").read_text())
    (lora,) = settings.distillation_loras
    assert known[f"{lora.repo}@{lora.revision}"]["known"][lora.file]["sha256"]


def test_paths_are_relative_to_the_table_and_may_hold_any_letter(read, tmp_path):
    table = read(f"{HEADER}\ndance,Vidéo nº 1 日本.mp4,./character.png,replace\n")
    clip = table.clips["dance"]
    assert Path(clip.video) == tmp_path / "Vidéo nº 1 日本.mp4"
    assert Path(clip.reference) == tmp_path / "character.png"


@pytest.mark.parametrize(
    "text",
    [
        f"\ufeff{HEADER}\n{GOOD}\n",
        f"{HEADER}\r\n{GOOD}\r\n",
        f"{HEADER}\n{GOOD}".replace(",", ";"),
        f"{HEADER}\n{GOOD}".replace(",", "\t"),
        f"{HEADER},prompt\n{GOOD},\n\n,,,,\n",
    ],
    ids=["byte-order mark", "Windows line ends", "semicolons", "tabs", "empty cells and rows"],
)
def test_tables_as_spreadsheets_save_them(read, text):
    table = read(text)
    assert table.all_mistakes() == []
    assert list(table.clips) == ["dance"]


def test_quoted_commas_and_shell_characters_stay_text(read):
    prompt = """a man; rm -rf "$HOME", {braces} `and` $(more)"""
    quoted = '"' + prompt.replace('"', '""') + '"'
    table = read(f"{HEADER},prompt\n{GOOD},{quoted}\n")
    assert table.clips["dance"].settings.prompt == prompt


@pytest.mark.parametrize("name", ["../x", "a b", "a;rm", "日本", ".hidden", "-x", "a/b", "x" * 101])
def test_unsafe_clip_names_are_refused_and_the_rule_is_said(read, name):
    mistake = only_mistake(read(f'{HEADER}\n"{name}",driving.mp4,character.png,animate\n'))
    assert f"row 2, column 'clip': '{name}' is not allowed" in mistake
    assert "letters A-Z and a-z, digits" in mistake


@pytest.mark.parametrize(
    ("column", "value", "allowed"),
    [
        ("mode", "dance", "animate or replace"),
        ("segment_frames", "78", "4n + 1"),
        ("segment_frames", "many", "4n + 1"),
        ("conditioning_frames", "2", "1, 5, 9 or 13"),
        ("color_match", "best", "off, overlap, or a number from 0 to 0.5"),
        ("steps", "-3", "from 1 to 200"),
        ("steps", "2.5", "from 1 to 200"),
        ("guidance_scale", "0", "from 1 to 20"),
        ("solver", "heun", "unipc, dpm++, euler or lcm"),
        ("resolution_area", "720p", "WIDTHxHEIGHT"),
        ("resolution_area", "1x1", "WIDTHxHEIGHT"),
        ("fps", "0", "source"),
        ("fps", "fast", "source"),
        ("fps", "1/0", "source"),
        ("fps", "true", "source"),
        ("preset", "ultra", "known are draft, fast, quality, standard, turbo"),
        ("gpus", "3", "divisor of 40"),
        ("relighting_lora", "maybe", "auto, true or false"),
        ("loras", "style.safetensors", "a list such as"),
        ("start", "-1", "0 or more"),
        ("person", "0", "a number of the preview such as 2"),
        ("person", "2@3", "640,360@3.5"),
    ],
)
def test_a_refused_value_is_named_with_row_column_and_what_is_allowed(read, column, value, allowed):
    cells = dict(zip(HEADER.split(","), GOOD.split(","), strict=True)) | {column: value}
    mistake = only_mistake(read(",".join(cells) + "\n" + ",".join(cells.values()) + "\n"))
    assert f"row 2, column '{column}': '{value}'".casefold() in mistake.casefold()
    assert allowed in mistake


def test_every_mistake_is_listed_at_once(read):
    table = read(f"{HEADER},steps\n{GOOD},0\n../x,none.mp4,,walk,5\n{GOOD},5\n")
    lines = "\n".join(table.all_mistakes())
    for part in ("row 2, column 'steps'", "row 3, column 'clip'", "row 3, column 'video': no such"):
        assert part in lines
    assert "row 3, column 'reference': missing" in lines
    assert "row 4, column 'clip': 'dance' stands already in row 2" in lines
    assert len(table.all_mistakes()) == 6


def test_a_row_takes_the_result_of_another(read):
    table = read(
        f"{HEADER}\nthird,clip:second,character.png,animate\n"
        f"second,clip: dance,character.png,replace\n{GOOD}\n"
    )
    assert table.all_mistakes() == []
    third, second, dance = table.clips.values()
    assert third.source == second and second.source == dance and dance.source is None
    assert third.video == "results/second/intermediate.mp4"
    assert (third.taken, second.taken, dance.taken) == (False, True, True)


@pytest.mark.parametrize(
    ("rows", "sentences"),
    [
        (
            "a,clip:danse\ndancer,driving.mp4\nswap,driving.mp4",
            {2: "the table has no clip 'danse'; did you mean 'dance' or 'dancer'?"},
        ),
        ("a,clip:", {2: "the table has no clip ''; give the name of another row"}),
        ("a,clip:a", {2: "no row of a circle can be first (row 2 takes row 2); give one"}),
        (
            "a,clip:b\nb,clip:c\nc,clip:b",
            {
                2: "clip 'b' in row 3 is refused",
                3: "(row 3 takes row 4, row 4 takes row 3)",
                4: "(row 4 takes row 3, row 3 takes row 4)",
            },
        ),
        (
            "a,clip:b\nb,clip:c\nc,gone.mp4",
            {2: "clip 'b' in row 3 is refused", 3: "clip 'c' in row 4 is", 4: "no such file"},
        ),
    ],
)
def test_chains_that_lead_nowhere_are_refused_row_by_row(read, rows, sentences):
    lines = [f"{row},character.png,animate" for row in rows.split("\n")]
    table = read("\n".join([HEADER, *lines, GOOD]) + "\n")
    assert table.row_mistakes.keys() == sentences.keys()
    for (number, sentence), mistake in zip(sentences.items(), table.all_mistakes(), strict=True):
        assert f"row {number}, column 'video': " in mistake and sentence in mistake
    assert "dance" in table.clips


def test_rows_that_take_a_refused_one_are_refused_with_it(read):
    table = read(
        f"{HEADER}\na,clip:b,character.png,animate\nb,clip:dance,character.png,animate\n{GOOD}\n"
    )
    table.refuse(table.clips["dance"], "gpus", "no such GPU")
    assert table.clips == {} and list(table.row_mistakes) == [4, 3, 2]
    assert [line.split(": ")[1] for line in table.all_mistakes()][2] == "no such GPU"


def test_a_row_goes_on_from_the_result_of_another(read):
    row = "driving.mp4,character.png,animate"
    table = read(
        f"{HEADER},continue_from,seed\nlast,{row},first~seed2,\nfirst,{row},,1..2\n"
        f"both,clip:last,character.png,animate,last,\n"
    )
    assert table.all_mistakes() == []
    last, both = table.clips["last"], table.clips["both"]
    assert last.continued == table.clips["first~seed2"] and last.source is None
    assert last.video.endswith("driving.mp4")
    assert both.source == both.continued == last
    taken = {name for name, clip in table.clips.items() if clip.taken}
    assert taken == {"last", "first~seed2"}


@pytest.mark.parametrize(
    ("rows", "column", "sentences"),
    [
        ("a,driving.mp4,animate,danse", "continue_from", {2: "did you mean 'dance'?"}),
        ("a,driving.mp4,animate,a", "continue_from", {2: "(row 2 takes row 2); leave one of"}),
        ("a,driving.mp4,animate,a b", "continue_from", {2: "allowed: the name of another row"}),
        (
            "a,driving.mp4,replace,dance",
            "continue_from",
            {2: "clip 'dance' has mode animate, this one replace; they must be alike"},
        ),
        (
            "a,driving.mp4,animate,b\nb,gone.mp4,animate,",
            "continue_from",
            {2: "clip 'b' in row 3 is refused; its result would be gone on from"},
        ),
        (
            "a,clip:b,animate,dance\nb,clip:c,animate,\nc,driving.mp4,animate,a",
            None,
            {
                2: "'video': no row of a circle can be first (row 2 takes row 3, row 3 takes row 4,"
                " row 4 takes row 2); give one",
                3: "'video': no row of a circle can be first (row 3 takes row 4",
                4: "'continue_from': no row of a circle can be first (row 4 takes row 2",
            },
        ),
    ],
)
def test_rows_that_cannot_go_on_from_another_are_refused(read, rows, column, sentences):
    lines = []
    for row in rows.split("\n"):
        name, video, mode, other = row.split(",")
        lines.append(f"{name},{video},character.png,{mode},{other}")
    table = read("\n".join([f"{HEADER},continue_from", *lines, f"{GOOD},"]) + "\n")
    assert table.row_mistakes.keys() == sentences.keys() | ({3} if "gone" in rows else set())
    for number, sentence in sentences.items():
        (mistake,) = table.row_mistakes[number]
        assert sentence in mistake
        assert column is None or f"row {number}, column '{column}': " in mistake
    assert "dance" in table.clips


def test_good_rows_stay_when_others_are_refused(read):
    table = read(f"{HEADER}\n{GOOD}\nother,none.mp4,character.png,animate\n")
    assert list(table.clips) == ["dance"]
    assert list(table.row_mistakes) == [3]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "empty; the first row must be clip,video,reference,mode"),
        (f"{HEADER}\n{GOOD},extra\n", "Expected 4 fields in line 2, saw 5"),
        ("klip,video,reference,mode\n", "column 'klip': unknown; did you mean 'clip'?"),
        (f"{HEADER},stepps\n", "column 'stepps': unknown; did you mean 'steps'?"),
        (f"{HEADER},steps,steps\n", "column 'steps': stands 2 times"),
        ("clip,video,mode\n", "column 'reference' is missing"),
        (f"{HEADER}\ndänce,a,b,animate\n".encode("latin-1"), "not UTF-8"),
    ],
)
def test_a_broken_file_is_explained(read, text, sentence):
    assert sentence in "\n".join(read(text).all_mistakes())


def test_a_missing_table_is_explained(config):
    assert "no such file" in only_mistake(read_table("nowhere.csv", Configuration(**config)))


@pytest.mark.parametrize(
    ("columns", "cells", "sentence"),
    [
        ("start,end", "2,1", "is not after the start"),
        ("segment_frames,conditioning_frames", "5,5", "fewer than segment_frames"),
        ("conditioning_frames,overlap_blend", "5,6", "at most conditioning_frames, 5"),
        ("loras", '"[{path: none.safetensors}]"', "no such file"),
        ("sam2_checkpoint", "none.pt", "no such file"),
        ("transformer_file", "none.gguf", "no such file"),
        ("transformer_file", "none/x.pth", "a path of a .safetensors or .gguf file"),
        ("loras", '"[{path: character.png, wait: 1}]"', "did you mean 'weight'?"),
        ("loras", '"[{path: character.png, strict: maybe}]"', "allowed: true or false"),
        ("loras", '"[{repo: a/b, file: x, strict: 1}]"', "allowed: true or false"),
    ],
)
def test_values_that_do_not_fit_together(read, columns, cells, sentence):
    assert sentence in only_mistake(read(f"{HEADER},{columns}\n{GOOD},{cells}\n"))


def test_lora_paths_and_weights_are_completed(read, tmp_path):
    table = read(f'{HEADER},loras\n{GOOD},"[{{path: character.png}}]"\n')
    (lora,) = table.clips["dance"].settings.loras
    assert (lora.location("models"), lora.weight) == (str(tmp_path / "character.png"), 1.0)


def test_a_transformers_file_is_a_path_and_a_declared_part_a_name(read, tmp_path):
    (tmp_path / "wan.gguf").touch()
    for cell, own in (("wan.gguf", str(tmp_path / "wan.gguf")), ("fp8_scaled", "")):
        text = f"{HEADER},transformer_file\n{GOOD},{cell}\n"
        settings = read(text).clips["dance"].settings
        assert (settings.own_transformer, settings.transformer_file) == (own, own or cell)
        mistake = only_mistake(read(text, model="wan2.2-animate-14b-original"))
        assert (
            "'transformer_file': cannot be used with model wan2.2-animate-14b-original" in mistake
        )


def test_a_lora_of_the_hub_is_a_file_below_the_models(read):
    lora = "[{repo: maker/style, file: v1/style.safetensors, weight: 0.5, strict: false}]"
    table = read(f'{HEADER},loras\n{GOOD},"{lora}"\n')
    path = "weights/loras/maker/style/main/v1/style.safetensors"
    (lora,) = table.clips["dance"].settings.loras
    assert (lora.location("weights"), lora.weight, lora.strict) == (path, 0.5, False)


@pytest.mark.parametrize(
    "lora",
    [
        "{repo: maker/style}",
        "{file: a.safetensors}",
        "{weight: 1}",
        "{path: character.png, repo: maker/style, file: a.safetensors}",
    ],
)
def test_a_lora_is_a_path_or_a_repository_and_a_file(read, lora):
    assert "path, or repo and file" in only_mistake(read(f'{HEADER},loras\n{GOOD},"[{lora}]"\n'))


@pytest.mark.parametrize("file", ["../evil", "a/../../evil", "/etc/passwd", "a;rm"])
def test_a_lora_cannot_leave_the_models_folder(read, file):
    lora = f"[{{repo: maker/style, file: '{file}'}}]"
    assert file in only_mistake(read(f'{HEADER},loras\n{GOOD},"{lora}"\n'))


def test_config_mistakes_name_the_key(config):
    config |= {"resluts": "x", "defaults": {"stps": 3, "preset": "ultra", "steps": 0}}
    lines = "\n".join(map(str, config_mistakes(config)))
    assert "resluts: unknown; did you mean 'results'?" in lines
    assert "defaults.stps: unknown; did you mean 'steps'?" in lines
    assert "defaults.preset: 'ultra' is no preset" in lines
    assert "defaults.steps: '0' is not allowed" in lines


def test_shipped_config_states_the_declared_defaults(config):
    assert config_mistakes(config) == []
    shipped = Configuration(**config)
    assert shipped.defaults == ClipSettings()
    assert shipped.presets["standard"] == ClipSettings()


def test_tables_and_editor_schema_are_those_of_the_declarations():
    for path, text in documents().items():
        stale = f"{path} is not up to date: run python workflow/scripts/document_settings.py"
        assert path.read_text("utf-8") == text, stale


def test_every_setting_and_key_is_described_in_the_tables():
    lines = (ROOT / "config/README.md").read_text("utf-8").splitlines()
    rows = {line.split("`")[1] for line in lines if line.startswith("| `")}
    for model in DECLARATIONS.values():
        assert model.model_fields.keys() <= rows


@pytest.mark.parametrize(
    ("column", "cell", "value"),
    [
        ("steps", "0123", 123),
        ("steps", "20.0", 20),
        ("start", "1:30", 90.0),
        ("end", "1:02:03.5", 3723.5),
        ("fps", "29.97", "29.97"),
        ("fps", "30000/1001", "30000/1001"),
        ("smooth_pose", "TRUE", True),
        ("relighting_lora", "false", False),
        ("relighting_lora", "auto", "auto"),
        ("gpus", "8", 8),
        ("gpus", "auto", "auto"),
        ("prompt", "0123", "0123"),
        ("person", "2", "2"),
        ("person", '"640,360@3.5"', "640,360@3.5"),
    ],
)
def test_a_cell_means_what_its_column_reads(read, column, cell, value):
    table = read(f"{HEADER},{column}\n{GOOD},{cell}\n")
    assert table.all_mistakes() == []
    found = getattr(table.clips["dance"].settings, column)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("column", "cell"),
    [("steps", "1:30"), ("steps", "1e1"), ("shift", "nan"), ("start", "1:2:3:4"), ("gpus", "0x4")],
)
def test_a_cell_is_not_guessed(read, column, cell):
    assert f"'{cell}' is not allowed" in only_mistake(read(f"{HEADER},{column}\n{GOOD},{cell}\n"))


def test_a_time_means_the_same_in_table_and_configuration(config):
    config["defaults"]["start"] = "1:30"
    assert Configuration(**config).defaults.start == 90


def test_values_of_the_configuration_have_their_types(config):
    config["defaults"] |= {"steps": "20", "smooth_pose": "yes", "loras": "x", "fps": True}
    config |= {"cluster": {"max_gpus": 0, "gpu": "a100"}, "compile": "maybe", "presets": {"a": 3}}
    lines = "\n".join(map(str, config_mistakes(config)))
    for sentence in (
        "defaults.steps: '20' is not allowed; allowed: a whole number from 1 to 200",
        "defaults.smooth_pose: 'yes' is not allowed; allowed: true or false",
        "defaults.loras: 'x' is not allowed; allowed: a list such as",
        "defaults.fps: 'True' is not allowed",
        "cluster.max_gpus: '0' is not allowed; allowed: a whole number of at least 1",
        "cluster.gpu: unknown; did you mean",
        "compile: 'maybe' is not allowed; allowed: auto, on or off",
        "presets.a: '3' is not allowed",
    ):
        assert sentence in lines


def test_on_and_off_are_words_that_yaml_reads_as_truth_values():
    assert [Configuration(compile=value).compile for value in (True, False)] == ["on", "off"]


def test_settings_that_a_clip_does_not_read_are_named(read):
    table = read(
        f"{HEADER},retarget,mask_kernel,sam2_checkpoint,negative_prompt,guidance_scale\n"
        "a,driving.mp4,character.png,replace,basic,5,character.png,,\n"
        "b,driving.mp4,character.png,animate,basic,5,,blur,1\n"
        "c,driving.mp4,character.png,replace,,5,,blur,1.5\n"
    )
    assert table.all_mistakes() == []
    assert table.ignored == {
        "'retarget', which is read with mode animate only": ["a"],
        "'sam2_checkpoint', which is read with mask_backend sam2 only": ["a"],
        "'mask_kernel', which is read with mode replace only": ["b"],
        "'negative_prompt', which is read with guidance_scale above 1 only": ["b"],
    }


def test_an_editor_is_a_name_or_a_folder_of_diffusers_layout(read, tmp_path):
    (tmp_path / "editor").mkdir()
    (tmp_path / "editor/model_index.json").write_text("{}")
    table = read(
        f"{HEADER},retarget,retarget_model,retarget_seed\n"
        "a,driving.mp4,character.png,animate,flux,./editor,3\n"
        "b,driving.mp4,character.png,animate,flux,,\n"
        "c,driving.mp4,character.png,animate,flux,./editors,\n"
        "d,driving.mp4,character.png,animate,basic,./editors,3\n"
        "e,driving.mp4,character.png,replace,flux,./editors,\n"
    )
    folder = table.clips["a"].settings.own_editor
    assert Path(folder).samefile(tmp_path / "editor")
    assert table.clips["b"].settings.retarget_model == "flux-kontext"
    assert not table.clips["b"].settings.own_editor
    assert [name for name, clip in table.clips.items() if clip.edits] == ["a", "b"]
    [problem] = table.all_mistakes()
    assert "row 4, column 'retarget_model': no such file" in problem
    assert table.ignored == {
        "'retarget_model', which is read with retarget flux only": ["d"],
        "'retarget_seed', which is read with retarget flux only": ["d"],
        "'retarget', which is read with mode animate only": ["e"],
        "'retarget_model', which is read with mode animate only": ["e"],
    }


def test_the_backend_of_a_reference_is_read_though_the_points_are_given(read, tmp_path):
    """Or its weights would not be there when the verdict compares limbs."""
    (tmp_path / "mine.npz").touch()
    columns = ",pose_backend,keypoints,require"
    for require, reads in (("", True), ("body=0.5", True), ("none", False)):
        table = read(f"{HEADER}{columns}\n{GOOD},vitpose,mine.npz,{require}\n")
        (clip,) = table.clips.values()
        assert clip.compares_limbs == reads
        assert ("pose_backend" not in clip.unread) == reads == (not table.ignored)
        assert "person" in clip.unread


def test_settings_survive_the_way_to_the_scripts(read):
    settings = read(f"{HEADER}\n{GOOD}\n").clips["dance"].settings
    for stage in (*ClipSettings.__bases__, ClipSettings):
        sent = stage.model_validate_json(settings.text_for(stage))
        assert all(getattr(sent, name) == getattr(settings, name) for name in stage.model_fields)


def points_table(read, tmp_path, content, **cells):
    (tmp_path / "p.json").write_text(content)
    cells = {"points": "p.json", "mask_backend": "sam2", "mode": "replace"} | cells
    row = dict(zip(HEADER.split(","), GOOD.split(","), strict=True)) | cells
    return read(",".join(row) + "\n" + ",".join(row.values()) + "\n")


MARKS = (
    '{"person": [{"second": 1, "positive": [[3, 4]]}],'
    ' "exclude": [{"name": "phone", "second": 2, "box": [1, 2, 3, 4]}]}'
)


def test_points_say_which_objects_are_excluded(read, tmp_path):
    table = points_table(read, tmp_path, MARKS)
    assert table.all_mistakes() == []
    clip = table.clips["dance"]
    assert clip.excluded == ("phone",) and clip.settings.points == str(tmp_path / "p.json")


def test_points_are_refused_with_file_and_entry_or_with_the_backend_that_takes_them(read, tmp_path):
    mistake = only_mistake(points_table(read, tmp_path, MARKS.replace("[[3, 4]]", "[3]")))
    assert "row 2, column 'points': file '" in mistake
    assert "p.json', person[0].positive: " in mistake
    mistake = only_mistake(points_table(read, tmp_path, MARKS, mask_backend="mediapipe"))
    assert "column 'points': mask_backend mediapipe cannot use points" in mistake
    assert "set mask_backend to sam2" in mistake
    assert "no such file" in only_mistake(points_table(read, tmp_path, MARKS, points="no.json"))


def test_points_of_a_clip_without_mask_are_ignored(read, tmp_path):
    table = points_table(read, tmp_path, "no json", mode="animate", mask_backend="")
    assert list(table.clips) == ["dance"] and not table.clips["dance"].excluded
    assert table.ignored == {"'points', which is read with mode replace only": ["dance"]}
