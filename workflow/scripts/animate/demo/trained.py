"""The demo's model: transformer and VAE that were trained on its clips, the rest of the tiny one.

tools/train_demo made the files in `weights/`: of scikit-image's `astronaut` (NASA, public domain),
and of nothing else. They have the licence of this repository.
"""

import shutil
from pathlib import Path

from animate.demo.model import write_encoders
from animate.demo.shipped import TRAINED, WEIGHTS
from animate.weights.layout import write_model_index, write_schedule_and_processor


def write_demo_model(folder: Path, weights: Path = WEIGHTS) -> None:
    """Write the model folder; `weights` has the trained parts. The index is written last.

    It has no relighting LoRA: it was trained to keep colours.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model_index.json").unlink(missing_ok=True)
    for part in TRAINED:
        shutil.copytree(weights / part, folder / part, dirs_exist_ok=True)
    write_encoders(folder)
    write_schedule_and_processor(folder)
    write_model_index(folder)
