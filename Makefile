# Everything a newcomer runs. Each target sets itself up in .venv; nothing needs root.
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: setup devnet test sim sim-night history check format bench mutants clean

setup: $(STAMP)

$(STAMP): pyproject.toml tools/setup.sh
	@sh tools/setup.sh $(VENV)
	@touch $(STAMP)

devnet: setup
	@$(BIN)/waggle devnet $(ARGS)

test: setup
	@$(BIN)/python -m pytest $(ARGS)
	@$(BIN)/waggle sim --seeds 1000 --seconds 150 --at-least 30

sim: setup
	@$(BIN)/waggle sim $(ARGS)

# 10,000 seeds in the background; each result is kept, and the same command goes on where it was stopped.
sim-night: setup
	@mkdir -p sim-night
	@nohup $(BIN)/waggle sim --seeds 10000 --resume --report sim-night/report.json --json > sim-night/log 2>&1 &
	@echo "running: each seed's result is added to sim-night/report.seeds.jsonl, the summary comes at the end"

# A group's life of 100,000 blocks, recorded, and replayed by waggle replay: it must find what is so, and nothing else.
history: setup
	@$(BIN)/python -m tools.history $(ARGS)

check: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python -m tools.floors

format: setup
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: setup
	@$(BIN)/python -m benchmarks $(ARGS)

mutants: setup
	@$(BIN)/python -m tools.mutants $(ARGS)

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis tests/node/devnet/js/node_modules
