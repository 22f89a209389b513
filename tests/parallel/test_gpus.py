"""Several GPUs of one machine; deselected by `make test`, see `make test-gpus`."""

import pytest
import torch

import gpu_ranks
from test_ranks import torchrun

pytestmark = pytest.mark.gpus


@pytest.mark.parametrize("count", [2, 4, 8])
def test_gpus_equal_one(tmp_path, count):
    if torch.cuda.device_count() < count:
        pytest.skip(f"{torch.cuda.device_count()} GPUs here")
    gpu_ranks.write_model(tmp_path)
    done = torchrun(count, gpu_ranks.__file__, str(tmp_path))
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"passed on {count} GPUs" in done.stdout
