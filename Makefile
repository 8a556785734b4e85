# The verbs of this project. Everything lives in .venv; nothing outside the checkout is changed.
.PHONY: help demo test soak check format serve bench lock clean

help:            ## list the verbs
	@grep -hE '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

demo:            ## start a server, train and deploy a flow, call it, stop
	@scripts/install demo
	@.venv/bin/python examples/digits/demo.py

serve:           ## run a server in the foreground (Ctrl-C stops it)
	@scripts/install serve
	@.venv/bin/penstock serve

test:            ## run all tests
	@scripts/install test
	@.venv/bin/python -m pytest -n 2 --dist loadfile

soak:            ## run the large sizes of the fault tests, with a progress line
	@scripts/install test
	@.venv/bin/python -m pytest -m soak -s -q $(ARGS)

check:           ## formatting, lint, types and the architecture test
	@scripts/install test
	@.venv/bin/ruff format --check . && .venv/bin/ruff check . && .venv/bin/mypy
	@.venv/bin/python -m pytest -q tests/test_architecture.py

format:          ## rewrite formatting and import order
	@scripts/install test
	@.venv/bin/ruff check --fix -q . ; .venv/bin/ruff format .

bench:           ## measure Penstock beside its peers; make bench ARGS=--quick is short
	@scripts/install test
	@.venv/bin/python -m pip install -q --disable-pip-version-check -r benchmarks/requirements.txt
	@.venv/bin/python benchmarks/setup_peers.py
	@.venv/bin/python benchmarks/run.py $(ARGS)

lock:            ## resolve requirements/locked.txt anew for every supported Python
	@.venv/bin/python -m pip install -q uv
	@.venv/bin/uv pip compile -q --universal --python-version 3.10 --no-emit-package penstock \
		--no-header --no-annotate requirements/test.in -o requirements/locked.txt

clean:           ## remove .venv and caches
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
