"""The gallery's pages as text: what they say of each clip, and where their links lead."""

import json
import os
import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from PIL import Image

from animate.config.configuration import Configuration
from animate.config.settings import ClipSettings
from animate.config.table import Clip, read_table
from animate.failure_note import FailureNote, write_note
from animate.gallery.entry import Entry
from animate.gallery.pages import write_gallery
from animate.gallery.standing import FINISHED, Standing
from animate.results.templates import changed_first
from animate.watch.unfinished import unfinished

ODD = 'it\'s <b>"50% #1"</b> & ü ?x=1'
LINKS = {"href", "src", "data-video"}


class Page(HTMLParser):
    """What is of interest in a page: its links, its elements and the text outside scripts."""

    def __init__(self, path: Path):
        super().__init__()
        self.path, self.links, self.tags, self.text, self.cards = path, [], [], "", []
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        given = dict(attributes)
        self.links += [given[name] for name in LINKS & given.keys()]
        if tag == "option" and "data-name" in given:
            self.links.append(given["value"])
        if tag == "article":
            self.cards.append(given)

    def handle_data(self, data):
        if self.tags[-1:] not in (["script"], ["style"]):
            self.text += data

    def dead(self) -> list[str]:
        """Return the links without a file."""
        return [one for one in self.links if not (self.path.parent / unquote(one)).exists()]


def write_clip(folder, name, record=None):
    """Write the files of a clip as far as a page looks at them."""
    made = folder / name
    made.mkdir(parents=True)
    timeline = {"frame_count": 50, "frame_rate": "25", "model_size": [832, 480], "shots": [0, 20]}
    (made / "timeline.json").write_text(json.dumps(timeline))
    (made / "metrics.json").write_text(json.dumps({"body": 0.96, "odd": float("nan")}))
    for video in ("driving", "src_pose", "src_face", "src_mask", "src_bg"):
        (made / f"{video}.mp4").touch()
    for picture in ("driving.jpg", "src_ref.png", "preview.png"):
        Image.new("RGB", (8, 8)).save(made / picture)
    if record is not None:
        (made / f"{name}.json").write_text(json.dumps(record))
        for suffix in (".mp4", ".jpg", ".html"):
            (made / f"{name}{suffix}").touch()


def record_of(name, **settings):
    shas = {"path": "p", "sha256": "s"}
    segments = [{"first": 1, "last": 2, "made_by": {"gpu": "H200", "packages": {"torch": "2"}}}]
    return {
        "clip": name, "mode": "replace", "settings": {"steps": 20, "seed": 0, **settings},
        "inputs": {"reference": shas}, "output": shas, "model": {"path": "models/large"},
        "sampling": {"seconds": {"segments": 90.0}, "segments": segments},
        "figures": {"pose_error": 0.12, "seams_worst_seconds": [0.4, 1.5], "identity": None},
        "packages": {"av": "18"},
    }  # fmt: skip


def test_a_result_has_its_own_size(tmp_path):
    record = record_of("part")
    record["output"] |= {"size": [832, 464]}
    record["sampling"]["frame"] = {"size": [832, 480], "part": [0, 8, 832, 464]}
    found = {}
    for name, content in (("part", record), ("whole", record_of("whole")), ("waits", None)):
        write_clip(tmp_path, name, content)
        row = Clip(name, "v.mp4", "r.png", "animate", ClipSettings())
        entry = Entry(row, Standing(FINISHED), tmp_path / name)
        found[name] = entry.shape["size"], entry.place
    assert found.pop("part") == ([832, 464], "0.000000 0.016667 1.000000 0.966667")
    assert found == dict.fromkeys(("whole", "waits"), ([832, 480], ""))


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Five clips and a refused row; the names of files and folders are full of odd characters."""
    folder = tmp_path / ODD.replace("/", "_")
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name in (f"{ODD.replace('/', '_')}.mp4", "reference.png", "other.png"):
        Path(name).touch()
    cell = '"' + f"{ODD.replace('/', '_')}.mp4".replace('"', '""') + '"'
    prompt = '"' + "<script>alert(1)</script>".replace('"', '""') + '"'
    rows = [
        "clip,video,reference,mode,seed,prompt",
        f"done,{cell},reference.png,replace,0,",
        f"again,{cell},other.png,replace,7,{prompt}",
        f"broken,{cell},reference.png,replace,0,",
        f"running,{cell},reference.png,animate,0,",
        f"later,{cell},reference.png,replace,0,",
        f"wrong,{cell},missing.png,replace,0,",
    ]
    Path("clips.csv").write_text("\n".join(rows), "utf-8")
    results, logs = Path("re sults #1"), Path("lo gs %")
    write_clip(results, "done", record_of("done"))
    write_clip(results, "again", record_of("again", seed=7, prompt="<script>alert(1)</script>"))
    write_clip(results, "broken")
    write_clip(results, "running")
    verdict = {"state": "warning", "sentences": ["The mask is <lost> at 0:01.2."]}
    (results / "again/verdict.json").write_text(json.dumps(verdict))
    for stage in ("mask", "sample"):
        (logs / stage).mkdir(parents=True)
    log = logs / "mask/broken.log"
    log.write_text("".join(f"line {number} <b>\n" for number in range(100)))
    write_note(log, FailureNote("no <outline> was found", final=True))
    config = Configuration(clips="clips.csv", results=str(results), logs=str(logs))
    return config, results, logs


def gallery(project, running_since=None):
    config, results, _ = project
    write_gallery(config, read_table(config.clips, config), running_since)
    return results


def test_each_clip_has_its_state_and_no_link_is_dead(project):
    results = gallery(project)
    index = Page(results / "index.html")
    states = [card["data-state"] for card in index.cards]
    assert states == ["finished", "finished", "failed", "waiting", "waiting", "failed"]
    assert len(index.links) > 10
    pages = [index, *map(Page, results.glob("*/index.html"))]
    assert len(pages) == 5
    assert {str(page.path): page.dead() for page in pages if page.dead()} == {}
    assert all(not link.startswith(("/", "http", "file:")) for page in pages for link in page.links)


def test_texts_of_the_user_are_escaped(project):
    results = gallery(project)
    for path in (results / "index.html", results / "again/index.html"):
        page = Page(path)
        # Its own script is the only one.
        assert page.tags.count("script") == 1 and page.tags.count("b") == 0
        assert "<script>alert(1)</script>" in unescape(path.read_text("utf-8"))
    figures = [json.loads(card["data-figures"]) for card in Page(results / "index.html").cards]
    assert figures[0]["pose_error"] == 0.12 and figures[0]["sampling_seconds"] == 90
    assert "finished" in figures[0] and "finished" not in figures[2]


def test_a_failed_clip_tells_its_reason_and_the_end_of_its_log(project):
    results = gallery(project)
    index, page = Page(results / "index.html"), Page(results / "broken/index.html")
    assert "no <outline> was found" in index.text and "no <outline> was found" in page.text
    assert "line 99 <b>" in index.text and "line 80 <b>" not in index.text
    assert "line 80 <b>" in page.text
    assert "no such file: 'missing.png'" in index.text and "row 7" in index.text


def test_a_note_that_is_older_than_the_result_is_of_another_time(project):
    _, results, logs = project
    os.utime(logs / "mask/broken.failure.json", (1000, 1000))
    for suffix in (".mp4", ".html"):
        (results / f"broken/broken{suffix}").touch()
    assert Page(gallery(project) / "index.html").cards[2]["data-state"] == "finished"


def test_a_failure_that_a_row_has_behind_it_is_not_shown(project):
    """The mask was given since, and its rule never runs again; or the verdict was asked anew."""
    _, results, logs = project

    def state() -> str:
        return Page(gallery(project) / "index.html").cards[2]["data-state"]

    os.utime(results / "broken/preview.png", (1000, 1000))
    assert state() == "failed"
    os.utime(logs / "mask/broken.failure.json", (900, 900))
    assert state() == "waiting"
    (logs / "accept").mkdir()
    write_note(logs / "accept/broken.log", FailureNote("A face is seen in 0%", final=True))
    os.utime(logs / "accept/broken.failure.json", (900, 900))
    for verdict, shown in (("bad", "failed"), ("warning", "waiting")):
        content = {"state": verdict, "sentences": ["A face is seen"]}
        (results / "broken/verdict.json").write_text(json.dumps(content))
        assert state() == shown
    (logs / "accept/broken.log").touch()
    for log in logs.glob("*/broken.log"):
        os.utime(log, (900, 900))
    found = unfinished("broken", logs.glob("*/broken.log"), results / "broken")
    assert found.why == "not finished"


def test_a_result_that_was_deleted_is_waited_for(project):
    results = project[1]
    (results / "done/done.mp4").unlink()
    index = Page(gallery(project) / "index.html")
    assert index.cards[0]["data-state"] == "waiting" and index.dead() == []


def test_only_a_run_that_is_alive_samples(project):
    logs = project[2]
    step = {"segment": 2, "segments": 3, "step": 4, "steps": 20, "seconds_left": 65.0}
    (logs / "sample/running.progress.json").write_text(json.dumps(step))
    page = Page(gallery(project, running_since=0.0) / "index.html")
    assert page.cards[3]["data-state"] == "sampling"
    assert "segment 2/3, step 4/20, about 1 min 05 s left" in page.text
    assert Page(gallery(project) / "index.html").cards[3]["data-state"] == "waiting"


def test_verdict_settings_and_figures_stand_on_both_pages(project):
    results = gallery(project)
    index, page = Page(results / "index.html"), Page(results / "again/index.html")
    assert index.cards[1]["data-verdict"] == "warning" and not index.cards[0]["data-verdict"]
    assert "The mask is <lost> at 0:01.2." in page.text and "0.4, 1.5" in page.text
    settings = re.findall(r"<tr(?: class=.changed.)?><th>(\w+)", page.path.read_text("utf-8"))
    assert settings.index("seed") < settings.index("steps")


def test_a_page_offers_the_other_results_of_the_same_moments(project):
    page = (gallery(project) / "done/index.html").read_text("utf-8")
    assert re.search(r'<option value="../again/again.mp4"[^>]*>again: other.png, seed 7', page)
    assert "broken.mp4" not in page


def test_only_masked_clips_show_mask_and_background(project):
    results = gallery(project)
    titles = {
        name: re.findall(r'data-title="([^"]+)"', (results / name / "index.html").read_text())
        for name in ("done", "running")
    }
    assert titles["running"] == ["Driving video", "Pose", "Face"]
    assert titles["done"] == [*titles["running"], "Mask", "Background", "Result"]


def test_a_page_that_stays_the_same_is_not_written(project):
    page = gallery(project) / "done/index.html"
    os.utime(page, (1000, 1000))
    gallery(project)
    assert page.stat().st_mtime == 1000


def test_settings_that_differ_come_first():
    changed, others = changed_first({"steps": 20, "seed": 7, "an_old_one": 1})
    assert (changed, others) == ({"seed": 7, "an_old_one": 1}, {"steps": 20})


def test_the_page_of_many_clips_is_small(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("v.mp4").touch()
    Path("r.png").touch()
    names = [f"clip-{number:03}" for number in range(500)]
    rows = [f"{name},v.mp4,r.png,replace,{place}" for place, name in enumerate(names)]
    Path("clips.csv").write_text("\n".join(["clip,video,reference,mode,seed", *rows]))
    figures = dict.fromkeys((f"figure_{number}" for number in range(20)), 0.1234)
    for place, name in enumerate(names):
        folder = Path("results", name)
        folder.mkdir(parents=True)
        record = record_of(name, seed=place, prompt="word " * 80)
        (folder / f"{name}.json").write_text(json.dumps(record | {"figures": figures}))
        for suffix in (".mp4", ".jpg", ".html"):
            (folder / f"{name}{suffix}").touch()
    config = Configuration(clips="clips.csv")
    page = write_gallery(config, read_table("clips.csv", config))
    assert len(Page(page).cards) == 500
    assert page.stat().st_size < 2_000_000
