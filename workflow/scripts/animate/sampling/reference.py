"""The image encoder's features of a clip's reference, made by a process of its own.

It imports its libraries, loads the encoder and runs it on the CPU while the sampler does the same
with the transformer on the GPU. Threads would not do: the libraries replace parts of PyTorch while
they build a model.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import TYPE_CHECKING

from animate.config.job import SamplingJob
from animate.devices.parent import LAUNCHER
from animate.errors import ClipError, MachineError
from animate.video.files import video_info

if TYPE_CHECKING:
    import torch

# Beside the features, the sentence of what is wrong in their place.
PROBLEM = ".problem"
SCRIPT = Path(__file__).parents[2] / "encode_reference.py"


class ReferenceFeatures:
    """A process that encodes a job's reference, from the start of the block on."""

    def __init__(self, job: SamplingJob, model: Path):
        self._job, self._model = job, model

    def __enter__(self) -> "ReferenceFeatures":
        width, height = video_info(self._job.inputs["pose"]).size
        self._folder = TemporaryDirectory()
        self._output = Path(self._folder.name, "features.safetensors")
        command = [sys.executable, SCRIPT, "--model", self._model, "--output", self._output]
        command += ["--reference", self._job.inputs["reference"]]
        command += [f"--width={width}", f"--height={height}"]
        environment = os.environ | {LAUNCHER: str(os.getpid())}
        self._process = subprocess.Popen(command, env=environment)
        return self

    def wait(self) -> "torch.Tensor":
        """Return the features (1, 257, n), fp32, once they are there.

        Raises:
            ClipError: the image or the encoder cannot be read; in the encoder's own sentence.
        """
        # Imported here so that the process starts before torch is imported.
        from safetensors.torch import load_file

        from animate.model.image import FEATURES

        code = self._process.wait()
        if code < 0:
            name = signal.Signals(-code).name
            raise MachineError(
                f"encoding the reference was ended by {name}: is there enough memory?"
            )
        if code:
            sentence = self._output.with_suffix(PROBLEM)
            raise ClipError(
                sentence.read_text("utf-8")
                if sentence.exists()
                else f"encoding the reference failed with exit code {code}: see the log"
            )
        return load_file(self._output)[FEATURES]

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()
