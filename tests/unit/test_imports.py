"""Imports that are made on a thread while weights are read."""

import sys
import threading

import pytest

from animate.kernels import imports
from animate.kernels.imports import Imports

NAMES = {"COMPILER": "a_compiler", "OUR_KERNELS": "some_kernels"}
NAMES |= {"FLASH_4": "fast_attention", "FLASH_3": "older_attention"}


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """Return a function that writes packages; each tells `imported` its name."""
    for constant, name in NAMES.items():
        monkeypatch.setattr(imports, constant, name)
    monkeypatch.syspath_prepend(tmp_path)
    record = type(sys)("record")
    record.imported, record.threads = [], set()
    record.begun, record.go_on = threading.Event(), threading.Event()
    monkeypatch.setitem(sys.modules, "record", record)

    def write(**code: str) -> type(sys):
        for name, lines in code.items():
            told = "import record, threading\nrecord.imported.append(__name__)\n"
            told += "record.threads.add(threading.get_ident())\n"
            (tmp_path / f"{name}.py").write_text(told + lines)
        return record

    yield write
    for name in NAMES.values():
        sys.modules.pop(name, None)


def test_one_thread_imports_the_compiler_first(packages):
    record = packages(**dict.fromkeys(NAMES.values(), ""))
    with Imports("cuda", True) as begun:
        begun.compiler()
        assert record.imported[:2] == ["a_compiler", "some_kernels"]
        begun.wait()
    assert record.imported == ["a_compiler", "some_kernels", "fast_attention"]
    assert len(record.threads) == 1 and threading.get_ident() not in record.threads


@pytest.mark.parametrize(
    ("device", "compiled", "imported"),
    [
        ("cpu", False, []),
        ("cpu", True, ["a_compiler"]),
        ("cuda", False, ["fast_attention"]),
    ],
)
def test_only_what_is_used_is_imported(packages, device, compiled, imported):
    record = packages(**dict.fromkeys(NAMES.values(), ""))
    with Imports(device, compiled) as begun:
        begun.wait()
    assert record.imported == imported


def test_a_broken_compiler_is_told_to_who_waits(packages):
    packages(a_compiler="raise ImportError('it is broken')", some_kernels="")
    with Imports("cuda", True) as begun:
        for wait in begun.compiler, begun.wait:
            with pytest.raises(ImportError, match="it is broken"):
                wait()


def test_attention_that_cannot_be_imported_is_left_to_its_trial(packages):
    record = packages(fast_attention="raise OSError('no such library')", older_attention="")
    with Imports("cuda", False) as begun:
        begun.wait()
    assert record.imported == ["fast_attention", "older_attention"]
    assert "fast_attention" not in sys.modules


def test_nothing_is_imported_after_the_end(packages):
    waits = "record.begun.set()\nrecord.go_on.wait(60)\nrecord.imported.append('the end')"
    record = packages(**dict.fromkeys(NAMES.values(), "") | {"a_compiler": waits})
    begun = Imports("cuda", True)
    assert record.begun.wait(60)
    closing = threading.Thread(target=begun.close)
    closing.start()
    closing.join(0.1)
    assert closing.is_alive()
    record.go_on.set()
    closing.join(60)
    assert record.imported == ["a_compiler", "the end"]
