"""8-bit attention as far as a CPU goes: trial, refusals, plan, key, and the source for Hopper."""

import json
from functools import partial

import pytest
import torch

from animate.config.job import read_job
from animate.demo.model import write_tiny_model
from animate.devices.world import ALONE
from animate.errors import ClipError
from animate.journal.key import input_hashes, job_key
from animate.kernels.attention8 import choose
from animate.kernels.attention8.attention import Attention8, readable
from animate.kernels.attention8.choose import HOPPER, choose_attention8, refusal, trial_error
from animate.model.attention import attention
from animate.model.token_sharding import NoSharding
from animate.parallel.build import build_transformer
from animate.parallel.plan import Sizes, Workload, transformer_work
from golden_model import relative_error
from plain8 import FAULTS, PlainKernel
from sampler_clip import write_clip, write_model

CPU, GPU = torch.device("cpu"), torch.device("cuda")
BUILDERS = {
    "broken": lambda: 1 / 0,
    "wrong": lambda: Attention8(PlainKernel(FAULTS[0])),
    "right": lambda: Attention8(PlainKernel()),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_trial_shows_each_fault_by_far(fault):
    assert trial_error(CPU, Attention8(PlainKernel(fault))) > 1.8 * choose.TOLERANCE


def test_the_first_right_kernel_is_taken():
    name, attend = choose_attention8(CPU, ALONE, BUILDERS)
    assert name == "right"
    assert 0.03 < trial_error(CPU, attend) < 0.8 * choose.TOLERANCE


def test_a_kernel_whose_sums_are_no_numbers_is_not_taken():
    class NoSums(PlainKernel):
        """Right results, by which no other set of keys can be merged."""

        def attend(self, q, keys):
            out, sums = super().attend(q, keys)
            return out, torch.full_like(sums, float("nan"))

    kernels = {"no sums": lambda: Attention8(NoSums()), "right": BUILDERS["right"]}
    assert choose_attention8(CPU, ALONE, kernels)[0] == "right"


def test_ranks_with_unlike_gpus_try_what_all_of_them_have():
    class Unlike:
        """Two ranks, of which the other's GPU has one kernel less."""

        leads, size = True, 2

        def gather(self, value):
            return [value, ["right"]] if isinstance(value, list) else [value, value]

    kernels = {"of this rank alone": BUILDERS["right"], "right": BUILDERS["right"]}
    assert choose_attention8(CPU, Unlike(), kernels)[0] == "right"


def test_a_clip_is_refused_without_a_right_kernel():
    wrong = {name: BUILDERS[name] for name in ("broken", "wrong")}
    with pytest.raises(ClipError, match=r"no kernel for it \(broken, wrong\).*attention to exact$"):
        choose_attention8(CPU, ALONE, wrong)


@pytest.mark.parametrize(
    ("capability", "size", "sentence"),
    [
        ((8, 0), 128, "NAME is neither of Ada nor of Hopper"),
        ((10, 0), 128, "NAME is neither of Ada nor of Hopper"),
        ((9, 0), 64, "heads have 64 channels and its kernels take 128"),
        ((8, 9), 64, "heads have 64 channels and its kernels take 128"),
    ],
)
def test_gpus_and_heads_without_a_kernel_are_refused(monkeypatch, capability, size, sentence):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NAME")
    found = refusal(GPU, size)
    assert sentence in found and found.endswith("set attention to exact")


def test_what_compiles_a_kernel_is_asked_for(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NAME")
    monkeypatch.setattr(
        choose, "missing_for_compiling", lambda: "there is no C compiler: install gcc"
    )
    for capability, has_nvrtc in (((8, 9), True), (HOPPER, False), (HOPPER, True)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _, c=capability: c)
        monkeypatch.setattr(choose, "_has_nvrtc", lambda has=has_nvrtc: has)
        found = refusal(GPU, 128)
        if (capability, has_nvrtc) == (HOPPER, True):
            assert found is None
        else:
            assert "install gcc; or set attention to exact" in found


def test_a_cpu_is_refused_before_weights_are_read(tmp_path):
    write_tiny_model(tmp_path, face_size=32)
    for weights in (tmp_path / "transformer").glob("*.safetensors"):
        weights.write_bytes(b"")
    workload = Workload(64, 64, 13, attention="8bit")
    with pytest.raises(ClipError, match="no NVIDIA GPU: set attention to exact"):
        build_transformer(tmp_path, torch.float32, CPU, [], ALONE, workload)


def test_keys_are_rounded_once_for_any_number_of_queries():
    kernel = PlainKernel()
    sharding = NoSharding(Attention8(kernel))
    q, k, v = (
        torch.randn(1, 300, 2, 128, generator=torch.Generator().manual_seed(n)) for n in (0, 1, 2)
    )
    over = sharding.attend_over(k, v)
    by_parts = torch.cat([over(part) for part in q.split(70, 1)], 1)
    assert kernel.rounded == 1
    assert torch.allclose(by_parts, sharding.attend(q, k, v, 300), atol=1e-5)
    assert relative_error(by_parts, attention(q, k, v)) < choose.TOLERANCE


def test_other_tensors_are_copied_and_others_refused():
    fused = torch.zeros(1, 5, 3, 2, 128, dtype=torch.bfloat16)
    assert readable(fused[:, :, 1]).data_ptr() == fused[:, :, 1].data_ptr()
    odd = torch.zeros(1, 5, 2, 129, dtype=torch.bfloat16)[..., 1:]
    assert readable(odd).is_contiguous()
    for wrong in (odd[..., :64], odd.float()):
        with pytest.raises(ValueError, match="8-bit attention of"):
            readable(wrong)


@pytest.mark.parametrize(
    ("ranks", "by_frames", "bytes_each"), [(1, False, 3), (2, False, 3), (1, True, 2), (2, True, 3)]
)
def test_rounded_copies_are_planned(ranks, by_frames, bytes_each):
    sizes, tokens, frames = Sizes((0,), 0, 5120, 5120), 75_600, 77
    exact, rounded = (
        transformer_work(sizes, tokens, frames, ranks, 1, by_frames, attention)
        for attention in ("exact", "8bit")
    )
    numbers = tokens // ranks * 5120
    assert bytes_each * numbers < rounded - exact < (bytes_each + 0.2) * numbers


def test_exact_clips_keep_their_key(tmp_path):
    model = write_model(tmp_path / "model")
    keys = []
    for attention_of_clip in (None, "exact", "8bit"):
        path = write_clip(tmp_path / str(attention_of_clip), model, 5)
        values = json.loads(path.read_text())
        values["settings"].pop("attention", None)
        if attention_of_clip:
            values["settings"]["attention"] = attention_of_clip
        path.write_text(json.dumps(values))
        job = read_job(path)
        keys.append(job_key(job, [], input_hashes(job)))
    assert keys[0] == keys[1] != keys[2]


@pytest.fixture
def compile_hopper():
    """Compile the source by NVRTC, which needs no GPU, only a build of PyTorch for them."""
    if torch.version.cuda is None:
        pytest.skip("PyTorch's build here is for CPUs alone, without NVRTC")
    from animate.kernels.attention8 import cuda_code, hopper

    return partial(cuda_code.compiled, architecture=hopper.ARCHITECTURE), hopper.SOURCE


def test_the_source_for_hopper_compiles_and_is_kept(compile_hopper, tmp_path, monkeypatch):
    compiled, source = compile_hopper
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "kept"))
    made = compiled(source)
    assert made.startswith(b"\x7fELF") and b"attend" in made
    (kept,) = (tmp_path / "kept").iterdir()
    kept.write_bytes(b"what was kept")
    assert compiled(source) == b"what was kept"
    # Another source is compiled anew, and says what is wrong.
    broken = tmp_path / source.name
    broken.write_text(source.read_text().replace("constexpr int KEYS = 96;", ""))
    with pytest.raises(RuntimeError, match="KEYS"):
        compiled(broken)


def test_sizes_are_those_of_the_source(compile_hopper):
    from animate.kernels.attention8 import hopper

    text = hopper.SOURCE.read_text()
    for name in ("KEYS", "STAGES", "SCALED", "SLAB", "CHUNK"):
        assert f"constexpr int {name} = {getattr(hopper, name)};" in text
    assert f"constexpr int WORKERS = {hopper.QUERIES // 64};" in text
