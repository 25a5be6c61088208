# One-word commands. Everything goes through .venv; nothing else on the machine is touched.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    ?= $(BIN)/python -m pip install --quiet --disable-pip-version-check

# what is imported is compiled once and kept: without, every process reads torch and transformers as text again
unexport PYTHONDONTWRITEBYTECODE

# two at a time: types are checked by one thread, and the suite leaves a core idle now and then
MAKEFLAGS += --jobs=2

.PHONY: demo example test suite test-browser test-interop check check-style check-types check-imports check-docs \
  docs-check site format docs translations matrix install bench peers fuzz kills robustness clean

demo: install  ## explain the shipped images with the shipped detector
	$(BIN)/xai demo --out attention_results/demo

example: demo  ## publish the demo's page
	mkdir -p reports/example && cp attention_results/demo/index.html reports/example/index.html

test: suite check  ## the whole suite, and the checks beside it

suite: install
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-browser: install  ## the report's pages in Chromium
	$(BIN)/python -m pytest -m browser tests/report/browser

check: check-style check-types check-imports check-docs  ## formatter, linter, types, import contracts, documents

check-style: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/hadolint Dockerfile

check-types: install
	$(BIN)/pyrefly check --min-severity error

check-imports: install
	$(BIN)/lint-imports

check-docs: install
	$(BIN)/python benchmarks/documents.py --check

# without the suite's checks of shapes, which would take longer than the commands
docs-check: install  ## every command, notebook and block of Python that documents show, with tiny detectors
	XAI_ALL_DOCUMENTS=1 $(BIN)/python -m pytest -o addopts=--import-mode=importlib -n 2 tests/docs/test_commands.py tests/docs/test_notebooks.py

# to look at it, with its search: python -m http.server --directory build/site
site: $(VENV)/.site  ## documents, reference and run notebooks as a site in build/site; links are checked
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

$(VENV)/.site: $(VENV)/.installed
	$(PIP) --no-compile -c constraints.txt -e '.[docs]'
	touch $@

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: install translations  ## what documents and configurations say of the code, from the code
	$(BIN)/python benchmarks/documents.py

translations: install  ## renew the catalogues of pages and summaries: .po for translators, .mo.gz for programs
	PYTHONPATH=tests $(BIN)/python -m translations

install: $(VENV)/.installed  ## .venv with the package and its dev extras

$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --no-compile -c constraints.txt -e '.[dev]'  # what is imported is compiled then
	touch $@

# timm, open_clip and torchvision need another torch build: an environment of their own
test-interop: .venv-interop/.installed
	XAI_REQUIRE_INTEROP=1 .venv-interop/bin/python -m pytest -m interop tests/interop

matrix: .venv-interop/.installed  ## docs/models.md; OPTIONS="--only 'timm/swin*'" tries some again
	PYTHONPATH=tests .venv-interop/bin/python -m benchmarks.matrix $(OPTIONS)

.venv-interop/.installed: pyproject.toml constraints-interop.txt
	$(PYTHON) -m venv .venv-interop
	.venv-interop/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-interop.txt torchvision grad-cam torchcam -e '.[dev,timm,open-clip]'
	touch $@

bench: install  ## cost of each attribution against one inference forward
	$(BIN)/python benchmarks/attribution_cost.py

# the build that benchmarks of speed compare with, as it was; reports/speed/
BASE := f14a8ae
.venv-base/.installed: constraints.txt
	$(PYTHON) -m venv .venv-base
	git archive --prefix=source/ $(BASE) | tar -x -C .venv-base
	.venv-base/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt '.venv-base/source[bench]'
	touch $@

# OPTIONS=--missing goes on after an interruption; OPTIONS=--quick shows in a minute or two that it works
peers: .venv-peers/.installed  ## ours beside captum, grad-cam, LeGrad, torchcam and Quantus: reports/peers/
	.venv-peers/bin/python benchmarks/peers/attribution.py $(OPTIONS)
	.venv-peers/bin/python benchmarks/peers/curves.py $(OPTIONS)
	.venv-peers/bin/python benchmarks/peers/growth.py $(OPTIONS)

.venv-peers/.installed: pyproject.toml constraints-interop.txt benchmarks/peers.txt
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-interop.txt -r benchmarks/peers.txt
	touch $@

# seeded, go on after an interruption; OPTIONS='--only KIND:INDEX' shows one case, OPTIONS=--fresh begins anew
fuzz: install  ## 10 400 hostile or broken inputs against the command line; Linux
	$(BIN)/python -m benchmarks.robustness.fuzz $(OPTIONS)

kills: install  ## signals, two processes on one folder, full disks (as root); the same command again
	$(BIN)/python -m benchmarks.robustness.kills $(OPTIONS)

# failures are published too: the page is written whatever the two found
robustness: install  ## both, and reports/robustness.md
	-$(BIN)/python -m benchmarks.robustness.fuzz $(OPTIONS)
	-$(BIN)/python -m benchmarks.robustness.kills $(OPTIONS)
	$(BIN)/python -m benchmarks.robustness.publish

clean:
	rm -rf .venv .venv-interop .venv-peers attention_results
