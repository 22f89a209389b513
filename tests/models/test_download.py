"""Downloads with the real client against a hub that misbehaves."""

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
import yaml
from huggingface_hub.utils import filter_repo_objects

from animate.hub.declared.declaration import read_declaration
from animate.hub.declared.lock import read_lock
from models.client import DECLARATION, SCRIPTS
from small_disk import small_disk

NAMES = ("a.bin", "b/c.bin", "config.json")
BIG = 40_000_000


def wanted(hub):
    return {name: hub.files[name] for name in NAMES}


def add_big_file(hub):
    hub.files["b/c.bin"] = os.urandom(BIG)
    hub.push("Maker/Model", hub.files)


def wait_for(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_declared_files_are_fetched_once_and_linked(client, hub):
    client.run("download_model")
    assert client.installed() == wanted(hub)
    assert not hub.downloads("README.md")
    count = len(hub.requests)
    client.run("download_model")
    assert len(hub.requests) == count, "the second run needs no network"


def test_lock_names_commit_sizes_and_hashes(client, hub):
    client.run("download_model")
    locked = client.lock()["Maker/Model"]
    assert (locked["revision"], locked["commit"]) == ("main", hub.commit)
    assert sorted(locked["files"]) == sorted(NAMES)
    assert locked["files"]["a.bin"]["size"] == len(hub.files["a.bin"])
    assert all(len(file["sha256"]) == 64 for file in locked["files"].values())


def test_cut_transfer_is_resumed(client, hub):
    add_big_file(hub)
    hub.faults.cut_at["b/c.bin"] = 0.3
    client.run("download_model")
    assert client.installed() == wanted(hub)
    first, second = hub.downloads("b/c.bin")
    assert first.sent == 0.3 * BIG
    assert second.start > 0.2 * BIG
    assert first.sent + second.sent < 1.1 * BIG


def test_stalled_transfer_is_resumed(client, hub):
    add_big_file(hub)
    hub.faults.stall_seconds["b/c.bin"] = 30
    client.environment["HF_HUB_DOWNLOAD_TIMEOUT"] = "1"
    began = time.monotonic()
    client.run("download_model")
    assert time.monotonic() - began < 30
    assert client.installed() == wanted(hub)
    assert [request.start > 0.2 * BIG for request in hub.downloads("b/c.bin")] == [False, True]


def test_busy_hub_is_asked_again(client, hub):
    hub.faults.statuses |= {"info": [503], "tree": [429], "a.bin": [503, 429], "b/c.bin": [500]}
    client.run("download_model")
    assert client.installed() == wanted(hub)
    assert [r.status for r in hub.requests if r.path == "a.bin"] == [503, 429, 302, 200]


def test_wrong_byte_is_caught_and_that_file_alone_fetched_again(client, hub):
    hub.faults.wrong_bytes["a.bin"] = 1
    client.run("download_model")
    assert client.installed() == wanted(hub)
    assert len(hub.downloads("a.bin")) == 2
    assert len(hub.downloads("b/c.bin")) == 1


def test_file_that_stays_wrong_is_named_and_never_shown(client, hub):
    hub.faults.wrong_bytes["a.bin"] = 9
    message = client.fail("download_model")
    assert "a.bin arrives damaged (SHA-256" in message
    assert client.installed() == {}


def test_absent_file_is_named(client, hub):
    hub.faults.absent.add("b/c.bin")
    assert "file b/c.bin: it is not on the hub" in client.fail("download_model")
    assert client.installed() == {}


def test_pattern_without_a_file_is_named(client, hub):
    del hub.files["a.bin"]
    hub.push("Maker/Model", hub.files)
    assert "Maker/Model has no file 'a.bin'" in client.fail("download_model")


def declare_choice(client, *choices, **repository):
    weights = DECLARATION["models"]["toy"]["parts"]["weights"] | {"files": [list(choices)]}
    models = {"toy": {"parts": {"weights": weights}}}
    repositories = {"Maker/Model": repository}
    client.declare(DECLARATION | {"models": models, "repositories": repositories})


@pytest.mark.parametrize("both", [True, False])
def test_first_of_several_patterns_that_has_a_match_is_fetched(client, hub, both):
    declare_choice(client, "b/*", "a.bin")
    if not both:
        del hub.files["b/c.bin"]
        hub.push("Maker/Model", hub.files)
    client.run("download_model")
    name = "b/c.bin" if both else "a.bin"
    assert client.installed() == {name: hub.files[name]}
    assert not hub.downloads("a.bin" if both else "b/c.bin")


def test_second_choice_is_removed_when_the_first_appears(client, hub):
    declare_choice(client, "new/*", "a.bin")
    client.run("download_model")
    assert client.installed().keys() == {"a.bin"}
    hub.push("Maker/Model", hub.files | {"new/n.bin": b"n"})
    client.run("update_models")
    client.run("download_model")
    assert client.installed() == {"new/n.bin": b"n"}


def test_choice_without_any_file_names_all_of_it(client, hub):
    declare_choice(client, "x/*", "y.bin")
    assert "Maker/Model has no file 'x/*' or 'y.bin'" in client.fail("download_model")


def test_choice_in_a_folder_of_the_users(client):
    declare_choice(client, "x.bin", "y.bin", path="own")
    (client.folder / "own").mkdir()
    (client.folder / "own" / "y.bin").write_bytes(b"y")
    client.run("download_model")
    assert client.installed() == {"y.bin": b"y"}


def test_missing_token_is_asked_for_and_a_token_is_never_logged(client, hub):
    hub.faults.token = "hf_secret_token"
    message = client.fail("download_model")
    assert "repository Maker/Model: it asks for a token" in message
    assert "HF_TOKEN" in message
    client.environment["HF_TOKEN"] = hub.faults.token
    output = client.run("download_model", "--log", "download.log")
    output += (client.folder / "download.log").read_text()
    assert client.installed() == wanted(hub)
    assert "hf_secret_token" not in output
    assert "do-not-log-me" not in output
    for path in client.folder.rglob("*"):
        assert not path.is_file() or b"hf_secret_token" not in path.read_bytes()


def test_lock_holds_when_the_branch_moves(client, hub):
    client.run("download_model")
    before = client.installed()
    hub.files["a.bin"] = os.urandom(5000)
    moved = hub.push("Maker/Model", hub.files)
    shutil.rmtree(client.folder / "cache")
    client.run("download_model")
    assert client.installed() == before
    assert client.lock()["Maker/Model"]["commit"] == hub.commit
    output = client.run("update_models")
    assert f"{hub.commit} (main) -> {moved} (main)" in output
    assert "changed a.bin: 200000 -> 5000 bytes" in output
    client.run("download_model")
    assert client.installed() == wanted(hub)
    assert "unchanged" in client.run("update_models")


@pytest.fixture
def known(client, hub):
    """Return a function that writes a lock with a commit and what is known of files there."""

    def write(commit=None, **files):
        names = {"a": "a.bin", "c": "b/c.bin", "config": "config.json", "lost": "b/lost.bin"}
        known = {names[key]: pins for key, pins in files.items()}
        entry = {"revision": "main", "commit": commit or hub.commit, "known": known}
        text = yaml.safe_dump({"Maker/Model": entry})
        (client.folder / "config" / "models.lock.yaml").write_text(text)

    return write


def digest(content):
    return hashlib.sha256(content).hexdigest()


def test_pin_of_some_files_is_completed_at_its_commit(client, hub, known):
    first = hub.commit
    files = dict(hub.files)
    known(a={"sha256": digest(files["a.bin"])}, config={"size": 10})
    hub.push("Maker/Model", hub.files | {"a.bin": b"newer"})
    assert re.search(r"toy +weights +yes +not pinned", client.run("models_status"))
    assert "toy: weights: not pinned" in client.fail("verify_models")
    client.run("download_model")
    assert client.installed() == {name: files[name] for name in NAMES}
    locked = client.lock()["Maker/Model"]
    assert (locked["commit"], sorted(locked["files"])) == (first, sorted(NAMES))
    assert "known" not in locked
    count = len(hub.requests)
    client.run("download_model")
    assert len(hub.requests) == count


def test_what_is_known_of_files_that_nobody_declares_is_kept(client, hub, known):
    pins = {"size": 5}
    known(a={"size": 200_000})
    path = client.folder / "config" / "models.lock.yaml"
    document = yaml.safe_load(path.read_text())
    document["Maker/Model"]["known"]["README.md"] = pins
    path.write_text(yaml.safe_dump(document))
    client.run("download_model")
    assert client.lock()["Maker/Model"]["known"] == {"README.md": pins}


@pytest.mark.parametrize("script", ["download_model", "update_models"])
@pytest.mark.parametrize(
    "wrong, problem",
    [
        ({"a": {"sha256": "0" * 64}}, r"the sha256 of a\.bin is 0{64} in .* and \w{64} on the hub"),
        ({"c": {"size": 1}}, r"the size of b/c\.bin is 1 in .* and 300000 on the hub"),
        ({"config": {"sha256": "1" * 64}}, r"the sha256 of config\.json is 1{64} in"),
        ({"lost": {"size": 1}}, r"the size of b/lost\.bin is 1 in .* and no such file on the hub"),
    ],
)
def test_pin_that_does_not_hold_says_so(client, hub, known, script, wrong, problem):
    known(**wrong)
    before = client.lock()
    assert re.search(problem, client.fail(script))
    assert client.lock() == before
    assert not hub.downloads("a.bin") + hub.downloads("b/c.bin")


def test_pins_hold_when_more_is_looked_up_at_their_commit(client, hub):
    client.run("download_model")
    hub.repositories["Maker/Model"][hub.commit] |= {"a.bin": bytes(5000), "new.bin": b"n"}
    weights = DECLARATION["models"]["toy"]["parts"]["weights"]
    weights = weights | {"files": [*weights["files"], "new.bin"]}
    client.declare(DECLARATION | {"models": {"toy": {"parts": {"weights": weights}}}})
    assert "the size of a.bin is 200000 in" in client.fail("download_model")


def test_file_without_content_keeps_its_pin(client, hub):
    hub.push("Maker/Model", hub.files | {"b/empty.txt": b""})
    client.run("download_model")
    assert client.installed()["b/empty.txt"] == b""
    assert "unchanged" in client.run("update_models")


def test_hub_that_answers_with_another_commit_is_refused(client, hub, known):
    known()
    first, other = hub.commit, hub.push("Maker/Model", hub.files | {"n.bin": b"n"}, "other")
    hub.branches["Maker/Model", first] = other
    message = client.fail("download_model")
    assert f"the commit is {first} in config/models.lock.yaml and {other} on the hub" in message


def test_update_leaves_what_was_known_of_another_commit(client, hub, known):
    known(commit="f" * 40, a={"sha256": "0" * 64})
    assert "not at this revision (HTTP 404)" in client.fail("download_model")
    assert f"{'f' * 40} (main) -> {hub.commit} (main)" in client.run("update_models")
    client.run("download_model")
    assert client.installed() == wanted(hub)


def test_shipped_pins_are_of_declared_files():
    config = SCRIPTS.parents[1] / "config"
    lock = read_lock(config / "models.lock.yaml")
    declaration = read_declaration(config / "models.yaml")
    locked = lock["Wan-AI/Wan2.2-Animate-14B"]
    assert locked.known.keys() | locked.files.keys()
    patterns = declaration.patterns("Wan-AI/Wan2.2-Animate-14B")
    declared = list(filter_repo_objects(locked.known, allow_patterns=patterns))
    assert declared == list(locked.known)
    assert all(len(entry.commit) == 40 for entry in lock.values())


@pytest.mark.parametrize("name", ["../evil.bin", "b/../../evil.bin", "/etc/evil.bin", "b\\evil"])
def test_name_that_leaves_the_folder_is_refused(client, hub, name):
    hub.faults.listed_too = [name]
    assert "evil" in (message := client.fail("download_model"))
    assert "leaves the model's folder" in message
    assert not list(client.folder.rglob("*evil*"))


def test_name_in_a_tampered_lock_is_refused(client, hub):
    client.run("download_model")
    path = client.folder / "config" / "models.lock.yaml"
    path.write_text(path.read_text().replace("b/c.bin", "../evil.bin"))
    assert "leaves the model's folder" in client.fail("download_model")


@pytest.mark.parametrize("id", ["../../evil", "main", "f" * 39])
def test_commit_that_is_no_hash_is_refused(client, hub, id):
    hub.repositories["Maker/Model"][id] = hub.files
    hub.branches["Maker/Model", "main"] = id
    assert "which is no hash" in client.fail("download_model")
    assert not list(client.folder.rglob("*evil*"))


@pytest.mark.parametrize("key", ["commit", "sha256", "git"])
def test_id_in_a_tampered_lock_is_refused(client, hub, key):
    client.run("download_model")
    path = client.folder / "config" / "models.lock.yaml"
    path.write_text(re.sub(rf"{key}: .*", f"{key}: ../../evil", path.read_text()))
    assert "which is no hash" in client.fail("download_model")


def test_pins_that_two_processes_write_at_once_are_both_kept(client, hub):
    hub.push("Maker/Other", hub.files)
    weights = DECLARATION["models"]["toy"]["parts"]["weights"]
    other = {"parts": {"weights": weights | {"repository": "Maker/Other"}}}
    repositories = {"repositories": {"Maker/Other": {}}, "models": {"other": other}}
    client.declare(DECLARATION | repositories, "other.yaml")
    hub.faults.statuses["tree"] = [503] * 3
    first = client.start("update_models")
    wait_for(lambda: [r.status for r in hub.requests if r.path == "tree"] == [503] * 3)
    client.run("download_model", "--needs", "other:weights", "--declaration", "config/other.yaml")
    assert first.wait(60) == 0
    assert client.lock().keys() == {"Maker/Model", "Maker/Other"}


def test_two_downloads_at_once_share_the_work(client, hub):
    hub.faults.bytes_per_second = 200_000
    processes = [client.start("download_model") for _ in range(2)]
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert client.installed() == wanted(hub)
    assert sum(request.sent for request in hub.downloads("b/c.bin")) == len(hub.files["b/c.bin"])


def test_killed_download_goes_on_where_it_was(client, hub):
    add_big_file(hub)
    hub.faults.bytes_per_second = 20_000_000
    process = client.start("download_model")
    wait_for(lambda: any(r.sent > 0.6 * BIG for r in hub.downloads("b/c.bin")))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert client.installed() == {}
    hub.faults.bytes_per_second = float("inf")
    client.run("download_model")
    assert client.installed() == wanted(hub)
    assert sum(request.sent for request in hub.downloads("b/c.bin")) < 1.4 * BIG


@pytest.fixture
def killed(client, hub):
    """Return the partial file of a download that was killed after more than half of it."""
    add_big_file(hub)
    hub.faults.bytes_per_second = 20_000_000
    process = client.start("download_model")
    wait_for(lambda: any(r.sent > 0.6 * BIG for r in hub.downloads("b/c.bin")))
    process.kill()
    process.communicate()
    hub.faults.bytes_per_second = float("inf")
    parts = client.folder.glob("cache/models--*/blobs/*.incomplete")
    return next(part for part in parts if part.stat().st_size > 0.2 * BIG)


def test_rest_of_a_file_from_a_server_without_ranges_is_the_whole_file(client, hub, killed):
    hub.faults.whole_files_only = True
    client.run("download_model")
    assert client.installed() == wanted(hub)
    assert hub.downloads("b/c.bin")[-1].sent == BIG


def of_another_machine(part, seconds):
    """Give a partial file the name that another machine's process would, written so long ago."""
    digest = part.name.partition(".")[0]
    other = part.rename(part.with_name(f"{digest}.other-node.cluster-999999999.incomplete"))
    os.utime(other, (time.time() - seconds,) * 2)
    return other


def test_partial_file_of_another_machine_is_taken_over_once_it_is_silent(client, hub, killed):
    other = of_another_machine(killed, 3600)
    client.run("download_model")
    assert client.installed() == wanted(hub)
    assert sum(request.sent for request in hub.downloads("b/c.bin")) < 1.4 * BIG
    assert not other.exists()


def test_partial_file_that_another_machine_writes_is_left_to_it(client, hub, killed):
    other = of_another_machine(killed, 0)
    before = other.read_bytes()
    client.run("download_model")
    assert client.installed() == wanted(hub)
    assert other.read_bytes() == before
    assert hub.downloads("b/c.bin")[-1].start == 0


def test_longest_of_several_partial_files_is_taken_and_no_other_is_left(client, hub, killed):
    short = killed.with_name(killed.name.rpartition("-")[0] + "-999999999.incomplete")
    short.write_bytes(killed.read_bytes()[:1000])
    client.run("download_model")
    assert client.installed() == wanted(hub)
    assert hub.downloads("b/c.bin")[-1].start > 0.2 * BIG
    assert not list(killed.parent.glob("*.incomplete"))


def test_two_downloads_without_a_lock_between_them_are_both_right(client, hub):
    """As on Lustre and NFS: a removed lock file is one that nobody else can hold."""
    add_big_file(hub)
    hub.faults.bytes_per_second = 10_000_000
    first = client.start("download_model")
    wait_for(lambda: any(r.sent > 0.3 * BIG for r in hub.downloads("b/c.bin")))
    for lock in client.folder.glob("cache/.locks/*/*.lock"):
        lock.unlink()
    second = client.start("download_model")
    outputs = [process.communicate(timeout=60)[0] for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], outputs
    assert client.installed() == wanted(hub)
    assert [request.start for request in hub.downloads("b/c.bin")] == [0, 0]
    assert not list(client.folder.rglob("*.incomplete"))


def test_interrupted_download_ends_before_the_file_is_whole(client, hub):
    add_big_file(hub)
    hub.faults.bytes_per_second = 6_000_000
    process = client.start("download_model")
    wait_for(lambda: any(r.sent > 0.3 * BIG for r in hub.downloads("b/c.bin")))
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert hub.downloads("b/c.bin")[0].sent < BIG


def test_too_small_disk_is_named_before_anything_is_fetched(client, hub):
    with small_disk(client.folder / "cache", 300_000):
        message = client.fail("download_model")
    assert "model toy needs 500.0 kB more" in message
    assert f"{client.folder}/cache has" in message
    assert not hub.downloads("a.bin")


def test_disk_that_fills_up_meanwhile_is_named_and_what_arrived_is_kept(client, hub):
    add_big_file(hub)
    hub.faults.bytes_per_second = 40_000_000
    with small_disk(client.folder / "cache", 60_000_000):
        process = client.start("download_model")
        wait_for(lambda: hub.downloads("b/c.bin"))
        ballast = client.folder / "cache" / "ballast"
        ballast.write_bytes(bytes(35_000_000))
        message = process.communicate()[0].splitlines()[-1]
        assert "file b/c.bin: the disk of the cache is full" in message
        assert client.installed() == {}
        ballast.unlink()
        client.run("download_model")
        assert client.installed() == wanted(hub)
    assert sum(request.sent for request in hub.downloads("b/c.bin")) < 1.9 * BIG


def test_offline_everything_comes_from_the_cache_or_is_asked_for(client, hub):
    client.environment["HF_HUB_OFFLINE"] = "1"
    assert "HF_HUB_OFFLINE is set" in client.fail("download_model")
    del client.environment["HF_HUB_OFFLINE"]
    client.run("download_model")
    client.environment["HF_HUB_OFFLINE"] = "1"
    shutil.rmtree(client.folder / "models")
    client.run("download_model")
    assert client.installed() == wanted(hub)


def test_existing_cache_is_used_in_place(client, hub):
    """What plain huggingface_hub has in its cache is verified and linked, not fetched."""
    client.declare(DECLARATION | {"cache": None})
    code = "from huggingface_hub import snapshot_download; snapshot_download('Maker/Model')"
    subprocess.run(
        [sys.executable, "-c", code],
        env=client.environment,
        check=True,
        capture_output=True,
    )
    cache = client.folder / "hf_home" / "hub" / "models--Maker--Model"
    before = {path: path.lstat().st_mtime_ns for path in cache.rglob("*") if path.is_file()}
    client.run("download_model")
    assert client.installed() == wanted(hub)
    assert len(hub.downloads("a.bin")) == len(hub.downloads("b/c.bin")) == 1
    after = {path: path.lstat().st_mtime_ns for path in cache.rglob("*") if path.is_file()}
    assert after == before


def test_folder_of_the_users_is_linked_and_never_written(client, hub):
    own = client.folder / "own weights"
    for name in NAMES:
        (own / name).parent.mkdir(parents=True, exist_ok=True)
        (own / name).write_bytes(hub.files[name])
    client.declare(DECLARATION | {"repositories": {"Maker/Model": {"path": str(own)}}})
    client.run("download_model")
    assert client.installed() == wanted(hub)
    assert hub.requests == []
    assert sorted(path.name for path in own.rglob("*") if path.is_file()) == sorted(
        name.split("/")[-1] for name in NAMES
    )
    (own / "a.bin").unlink()
    assert "Maker/Model has no file 'a.bin'" in client.fail("download_model")


def test_force_fetches_everything_again(client, hub):
    client.run("download_model")
    client.run("download_model", "--force")
    assert client.installed() == wanted(hub)
    assert len(hub.downloads("a.bin")) == len(hub.downloads("b/c.bin")) == 2
