import shutil

import pytest
from filelock import FileLock

from animate.demo.clips import write_demo
from project import Project, new_project

SPACED_VIDEO = "videos/driving video ü.mp4"
ROWS = (
    {"clip": "dance", "video": f"../{SPACED_VIDEO}", "reference": "../character.png"}
    | {"mode": "animate", "end": "1.5"},
    {"clip": "swap", "video": f"../{SPACED_VIDEO}", "reference": "../character.png"}
    | {"mode": "replace", "start": "0.5", "end": "2", "prompt": "it's {a} $(touch x); `dance`"},
)


@pytest.fixture(scope="session")
def finished(tmp_path_factory, worker_id):
    """A project whose two clips, one in each mode, have been run to the end; made once."""
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent
    folder, console = shared / "finished" / "a project", shared / "console.txt"
    with FileLock(shared / "finished.lock"):
        if not console.exists():
            done = finish(new_project(folder))
            console.write_text(done.stdout + done.stderr)
    project = Project(folder)
    project.output = console.read_text()
    return project


def finish(project):
    """Run the two clips and return what Snakemake printed."""
    write_demo(project.folder / "demo")
    (project.folder / "videos").mkdir()
    shutil.move(project.folder / "demo" / "driving.mp4", project.folder / SPACED_VIDEO)
    shutil.move(project.folder / "demo" / "character.png", project.folder / "character.png")
    project.write_table(*ROWS)
    return project.snakemake()


@pytest.fixture
def project(finished, tmp_path):
    """The finished project, in a copy of its own."""
    return finished.copy_to(tmp_path / "a project")


@pytest.fixture
def rows():
    """The table of the finished project, to be changed."""
    return [dict(row) for row in ROWS]
