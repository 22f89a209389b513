#!/usr/bin/env bash
# What an environment file cannot say; Snakemake runs it in the new environment.
set -euo pipefail

# MediaPipe brings the OpenCV with windows, which needs system libraries.
pip uninstall --quiet --yes opencv-contrib-python
pip install --quiet --no-deps "opencv-contrib-python-headless>=4.11,<4.12"
# With the PyTorch that is there, and without compiling CUDA code.
SAM2_BUILD_CUDA=0 pip install --quiet --no-deps --no-build-isolation "sam2==1.1.0"
