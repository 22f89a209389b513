PYTHON ?= python3
VENV := .venv
INSTALLED := $(VENV)/.installed
BIN := $(VENV)/bin
# The lock names all: nothing needs to be resolved.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps
TORCH := ^(torch|triton|nvidia-|cuda-)
DEMO_RUN := $(BIN)/snakemake --profile local --configfile config/demo.yaml

.PHONY: demo install test test-slurm test-gpus test-environments lint lock clean
.DELETE_ON_ERROR:

demo: $(INSTALLED)
	@$(BIN)/python workflow/scripts/demo_input.py demo
	@$(DEMO_RUN)
	@$(MAKE) --no-print-directory demo/report.html
	@echo
	@echo "The demo is finished. The tiny model has random weights: its videos are noise by design."
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

$(INSTALLED): requirements.lock workflow/scripts/check_system.py
	@$(PYTHON) workflow/scripts/check_system.py
	$(PYTHON) -m venv $(VENV)
	@# Two at once, because unpacking keeps a processor busy; sam2 is built with both.
	grep -E '$(TORCH)' requirements.lock | $(PIP) --requirement /dev/stdin & torch=$$!; \
	grep -vE '$(TORCH)|^sam2==' requirements.lock | $(PIP) --requirement /dev/stdin; others=$$?; \
	wait $$torch && exit $$others
	grep '^sam2==' requirements.lock | SAM2_BUILD_CUDA=0 $(PIP) --no-build-isolation \
	  --requirement /dev/stdin
	$(BIN)/python -m pip check
	@touch $@

# Resolve pyproject.toml anew; run it after a change of the ranges, on Python 3.11.
lock:
	$(PYTHON) workflow/scripts/lock.py

clean:
	rm -rf demo $(VENV)
