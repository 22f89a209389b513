#!/bin/bash
# Train the demo's model from FOLDER/photograph.npz on one GPU, all stages one after the other:
#     bash tools/train_demo/train.sh FOLDER [VAE_SECONDS [TRANSFORMER_SECONDS]]
# What each stage says is in FOLDER/train.log. Weights are kept every minute.
set -eu
folder=$1 vae=${2:-560} transformer=${3:-560}
cd "$(dirname "$0")/../.."
export PYTHONPATH=workflow/scripts PYTHONUNBUFFERED=1
stage() { "${PYTHON:-python}" tools/train_demo/train.py "$@" >> "$folder/train.log" 2>&1; }
stage vae "$folder" --seconds "$vae" --scenes 400
stage motion "$folder" --seconds 30 --scenes 400
stage transformer "$folder" --seconds "$transformer" --scenes 600
stage check "$folder"
