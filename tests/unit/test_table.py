"""The table and the configuration: what is accepted, and the sentence for each mistake."""

import json
from pathlib import Path

import pytest
import yaml

from animate.config.schema import load_schema, schema_defaults
from animate.config.settings import complete_config, config_mistakes, resolve
from animate.config.table import read_table

ROOT = Path(__file__).parents[2]
HEADER = "clip,video,reference,mode"
GOOD = "dance,driving.mp4,character.png,animate"


@pytest.fixture
def config():
    return complete_config(yaml.safe_load((ROOT / "config/config.yaml").read_text("utf-8")))


@pytest.fixture
def read(tmp_path, config):
    for name in ("driving.mp4", "character.png", "Vidéo nº 1 日本.mp4"):
        (tmp_path / name).touch()

    def write_and_read(text, encoding="utf-8", **changes):
        path = tmp_path / "clips.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
        return read_table(path, config | changes)

    return write_and_read


def only_mistake(table):
    (mistake,) = table.all_mistakes()
    return mistake


def test_row_is_resolved_from_its_cells_its_preset_and_the_defaults(read):
    table = read(f"{HEADER},preset,steps,seed\n{GOOD},draft,,7\n")
    settings = table.clips["dance"].settings
    assert table.all_mistakes() == []
    assert (settings["segment_frames"], settings["steps"], settings["seed"]) == (49, 15, 7)
    assert settings["solver"] == "unipc"


def test_row_beats_its_preset_and_its_preset_beats_the_defaults(config):
    config["defaults"] |= {"steps": 12}
    assert resolve({}, config)["steps"] == 12
    assert resolve({"preset": "quality"}, config)["steps"] == 30
    assert resolve({"preset": "quality", "steps": 3}, config)["steps"] == 3


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
    assert table.clips["dance"].settings["prompt"] == prompt


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
        ("conditioning_frames", "2", "1 or 5"),
        ("steps", "-3", "from 1 to 200"),
        ("steps", "2.5", "from 1 to 200"),
        ("guidance_scale", "0", "from 1 to 20"),
        ("solver", "euler", "unipc or dpm++"),
        ("resolution_area", "720p", "WIDTHxHEIGHT"),
        ("resolution_area", "1x1", "WIDTHxHEIGHT"),
        ("fps", "0", "source"),
        ("fps", "fast", "source"),
        ("fps", "1/0", "source"),
        ("fps", "true", "source"),
        ("preset", "ultra", "known are draft, quality, standard"),
        ("gpus", "3", "divisor of 40"),
        ("relighting_lora", "maybe", "auto, true or false"),
        ("loras", "style.safetensors", "a list such as"),
        ("start", "-1", "0 or more"),
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
    assert "no such file" in only_mistake(read_table("nowhere.csv", config))


@pytest.mark.parametrize(
    ("columns", "cells", "sentence"),
    [
        ("start,end", "2,1", "is not after the start"),
        ("segment_frames,conditioning_frames", "5,5", "fewer than segment_frames"),
        ("loras", '"[{path: none.safetensors}]"', "no such file"),
        ("sam2_checkpoint", "none.pt", "no such file"),
        ("loras", '"[{path: character.png, wait: 1}]"', "did you mean 'weight'?"),
        ("loras", '"[{path: character.png, strict: maybe}]"', "allowed: true or false"),
        ("loras", '"[{repo: a/b, file: x, strict: 1}]"', "allowed: true or false"),
    ],
)
def test_values_that_do_not_fit_together(read, columns, cells, sentence):
    assert sentence in only_mistake(read(f"{HEADER},{columns}\n{GOOD},{cells}\n"))


def test_lora_paths_and_weights_are_completed(read, tmp_path):
    table = read(f'{HEADER},loras\n{GOOD},"[{{path: character.png}}]"\n')
    lora = {"path": str(tmp_path / "character.png"), "weight": 1.0}
    assert table.clips["dance"].settings["loras"] == [lora]


def test_a_lora_of_the_hub_is_a_file_below_the_models(read):
    lora = "[{repo: maker/style, file: v1/style.safetensors, weight: 0.5, strict: false}]"
    table = read(f'{HEADER},loras\n{GOOD},"{lora}"\n', models="weights")
    path = "weights/loras/maker/style/main/v1/style.safetensors"
    (lora,) = table.clips["dance"].settings["loras"]
    assert (lora["path"], lora["weight"], lora["strict"]) == (path, 0.5, False)
    assert (lora["repo"], lora["revision"]) == ("maker/style", "main")


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


def test_shipped_config_states_the_schemas_defaults():
    shipped = yaml.safe_load((ROOT / "config/config.yaml").read_text("utf-8"))
    defaults = schema_defaults("settings")
    assert {key: defaults[key] for key in shipped["defaults"]} == shipped["defaults"]
    standard = shipped["presets"]["standard"]
    assert {key: defaults[key] for key in standard} == standard
    assert config_mistakes(shipped) == []


def test_every_setting_and_key_is_documented_with_its_default():
    lines = (ROOT / "config/README.md").read_text("utf-8").splitlines()
    rows = {line.split("`")[1]: line for line in lines if line.startswith("| `")}
    for name in ("clips", "settings", "config"):
        for key, rule in load_schema(name)["properties"].items():
            assert key in rows, f"{key} is not in config/README.md"
            default = rule.get("default")
            if default not in (None, {}) and key != "negative_prompt":
                shown = str(default).lower() if isinstance(default, bool) else str(default)
                assert rows[key].rstrip(" |").endswith(shown), rows[key]


def test_settings_survive_the_way_to_the_scripts(read):
    settings = read(f"{HEADER}\n{GOOD}\n").clips["dance"].settings
    assert json.loads(json.dumps(settings, ensure_ascii=False)) == settings
