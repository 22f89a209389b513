import pytest
from filelock import FileLock

from project import ROWS, Project, finish, new_project


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


@pytest.fixture
def project(finished, tmp_path):
    """The finished project, in a copy of its own."""
    return finished.copy_to(tmp_path / "a project")


@pytest.fixture
def rows():
    """The table of the finished project, to be changed."""
    return [dict(row) for row in ROWS]
