# One command per intent. Everything happens in build/ and .venv/.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
IMAGES := build/firmware

.PHONY: run test test-all lint bench docs firmware clean

# Boot the guest kernel on the cycle-accurate computer, look at its first cycles, compare with the emulated run.
run: $(STAMP) firmware
	$(BIN)/gigogne run $(IMAGES)/kernel.elf --stats
	$(BIN)/gigogne trace $(IMAGES)/kernel.elf --output build/kernel.vcd --to-cycle 20000
	$(BIN)/gigogne compare $(IMAGES)/dhry.elf

test: $(STAMP)
	$(BIN)/python -m pytest -n 2

# The suite with its exhaustive variants, then the campaigns: 10^6 random instructions of the golden model against
# Unicorn, 10^6 of the translator and 10^6 of the RTL against the golden model, 10^5 entries of random guests (a quarter of
# an hour; 10^6 random two-dimensional walks are in the suite), every firmware image in lockstep to its end.
test-all: $(STAMP) firmware
	$(BIN)/python -m pytest -n 2 -m "slow or not slow"
	$(BIN)/python -m tests.vmm.engine.campaign --count 1000000 --seed 1
	$(BIN)/python -m tests.vmm.engine.dbt.campaign --count 1000000 --seed 1
	$(BIN)/python -m tests.rtl.cpu.core_scenes 0 100
	$(BIN)/gigogne check --random 1 --count 120
	$(BIN)/gigogne check --random-guests 100000 --seed 1
	for image in $(IMAGES)/*.elf $(IMAGES)/tests/*.elf $(IMAGES)/svm/*.elf; do $(BIN)/gigogne check $$image || exit 1; done

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(STAMP) firmware
	$(BIN)/python -m sim.bench --json build/bench.json

docs: $(STAMP) firmware
	$(BIN)/python -m rtl.isa.emit --docs docs/reference
	$(BIN)/python -m rtl.cpu.microcode.listing docs/microcode.md
	$(BIN)/python -m tests.docs.reading_guide docs/reading-guide.md
	$(BIN)/python -m sim.bench.instruction_cycles docs/instruction-cycles.md

firmware: $(STAMP)
	$(BIN)/python -m firmware.build --out $(IMAGES)

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf build
