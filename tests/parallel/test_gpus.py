"""One GPU or several of one machine; deselected by `make test`, see `make test-gpus`."""

import pytest
import torch

import gpu_ranks
from test_ranks import torchrun

pytestmark = pytest.mark.gpus
GPUS = torch.cuda.device_count()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model and clips, with what the CPU samples of them."""
    path = tmp_path_factory.mktemp("model")
    gpu_ranks.write_inputs(path)
    return path


@pytest.mark.skipif(not GPUS, reason="no GPU here")
@pytest.mark.parametrize("check", gpu_ranks.CHECKS)
@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_gpus_equal_the_cpu(folder, count, check):
    if count > GPUS:
        pytest.skip(f"{GPUS} GPUs here")
    done = torchrun(count, gpu_ranks.__file__, str(folder), check)
    print(done.stdout)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert f"{check} passed on {count} GPUs" in done.stdout
