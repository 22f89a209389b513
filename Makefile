PYTHON ?= python3
VENV := .venv
INSTALLED := $(VENV)/.installed
BIN := $(VENV)/bin
# A build of PyTorch for older drivers, or for none: cu126, cpu and others; else what .venv has.
INSTALLED_PYTORCH := $(shell cat $(VENV)/.pytorch 2>/dev/null)
PYTORCH ?= $(INSTALLED_PYTORCH)
# Its clips are sampled beside each other, each by half of the processors, four at most: fewer threads
# wait less.
HALF = $(shell $(BIN)/python -c "import os; print(min(4, (os.cpu_count() + 1) // 2))")
DEMO_RUN = $(BIN)/snakemake --profile local --configfile config/demo.yaml --resources gpu=2 \
  --set-threads sample=$(HALF) keypoints=1 reference_keypoints=1 person_mask=1 result_keypoints=1

.PHONY: demo install test test-slurm test-gpus test-environments lint lock clean other-pytorch
.DELETE_ON_ERROR:

demo: $(INSTALLED)
	@$(BIN)/python workflow/scripts/demo_input.py demo
	@$(DEMO_RUN)
	@$(MAKE) --no-print-directory demo/report.html
	@echo
	@echo "The demo is finished. Its model was trained on one photograph: it animates nothing else."
	@for clip in demo/results/demo-*; do echo "  video   $$clip/$$(basename $$clip).mp4"; done
	@echo "  report  demo/report.html"

# Sets up .venv and runs nothing.
install: $(INSTALLED)

demo/report.html: $(wildcard demo/results/*/*.html)
	@$(DEMO_RUN) --report $@

test: $(INSTALLED)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow and not slurm and not gpus"

# On a real SLURM of two nodes that share this machine; needs root. 25 minutes on two cores.
test-slurm: $(INSTALLED)
	$(BIN)/python tests/slurm/loopback.py install
	$(BIN)/python -m pytest -m slurm tests/slurm

# On 1, 2, 4 and 8 GPUs of this machine, as far as it has them.
test-gpus: $(INSTALLED)
	$(BIN)/python -m pytest -m gpus tests/parallel

# The pip parts of envs/*.yaml, each in a clean virtual environment: downloads torch.
test-environments: $(INSTALLED)
	$(BIN)/python -m pytest -m slow tests/workflow/test_environments.py

lint: $(INSTALLED)
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint

$(INSTALLED): requirements.lock workflow/scripts/set_up.py $(if $(filter-out \
  _$(INSTALLED_PYTORCH),_$(PYTORCH)),other-pytorch)
	$(PYTHON) workflow/scripts/set_up.py $(VENV) --pytorch "$(PYTORCH)"
	@touch $@

# Resolve pyproject.toml anew; run it after a change of the ranges, on Python 3.11.
lock:
	$(PYTHON) workflow/scripts/lock.py

clean:
	rm -rf demo $(VENV)
