"""The linters, and the order of the library's rooms, are part of the tests."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / "workflow/scripts/animate"
# The folders of the library: a module imports of its own folder and of those to its left. The
# modules beside them import no folder.
ROOMS = (
    *("config", "video", "devices", "pose", "matte", "editing", "given", "results"),
    *(
        "weights",
        "model",
        "kernels",
        "parallel",
        "journal",
        "sampling",
        "serving",
        "quality",
        "hub",
        "cluster",
        "watch",
        "gallery",
        "demo",
    ),
)
MOST_MODULES = 12


@pytest.mark.parametrize(
    "command",
    [
        ("ruff", "check", "."),
        ("ruff", "format", "--check", "."),
        ("snakefmt", "--check", "Snakefile", "workflow"),
        ("snakemake", "--lint"),
    ],
    ids=" ".join,
)
def test_clean(command):
    program = Path(sys.executable).parent / command[0]
    done = subprocess.run([program, *command[1:]], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def modules() -> dict[str, Path]:
    """Return the library's modules and packages by name."""
    files = {file.relative_to(LIBRARY.parent).with_suffix(""): file for file in sources()}
    return {".".join(name.parts).removesuffix(".__init__"): file for name, file in files.items()}


def sources() -> list[Path]:
    return sorted(LIBRARY.rglob("*.py"))


def imports(file: Path, names: set[str]) -> set[str]:
    """Return the library's modules that a file imports anywhere, also in functions."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import"
            members = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (members & names) or ({node.module} & names)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & names
        elif isinstance(node, ast.Constant):
            # Modules that are imported by name, when they are needed.
            found |= {node.value} & names if isinstance(node.value, str) else set()
    return found


def room(name: str) -> int:
    """Return the place of a module's folder in `ROOMS`, -1 for what lies beside the folders."""
    parts = name.split(".")
    return ROOMS.index(parts[1]) if parts[1:] and (LIBRARY / parts[1]).is_dir() else -1


def test_no_import_runs_upward_or_in_a_circle():
    files = modules()
    graph = {name: imports(file, set(files)) - {name} for name, file in files.items()}
    assert sum(map(len, graph.values())) > len(graph)
    upward = [
        f"{name} imports {other}"
        for name, others in graph.items()
        for other in sorted(others)
        if room(other) > room(name)
    ]
    assert not upward, upward
    # Raises CycleError with the modules of a circle.
    TopologicalSorter(graph).prepare()


def test_every_folder_has_its_place_and_few_modules():
    folders = {file.parent for file in sources()} - {LIBRARY}
    assert {folder.relative_to(LIBRARY).parts[0] for folder in folders} == set(ROOMS)
    counts = {
        str(folder.relative_to(LIBRARY)): len({*folder.glob("*.py")} - {folder / "__init__.py"})
        for folder in folders
    }
    crowded = {folder: count for folder, count in counts.items() if count > MOST_MODULES}
    assert not crowded, crowded
