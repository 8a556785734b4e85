# The verbs of this project. Everything lives in .venv; nothing outside the checkout is changed.
.PHONY: help demo test soak fuzz check format serve wheel bench screenshots docs lock clean

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
	@.venv/bin/python -m pytest -n 3 --dist loadfile

soak:            ## run the large sizes of the fault tests, with a progress line
	@scripts/install test
	@.venv/bin/python -m pytest -m soak -s -q $(ARGS)

fuzz:            ## feed strange bytes to every parser, 10 minutes each; make fuzz ARGS="--seconds 60"
	@scripts/install test
	@.venv/bin/python -m pip install -q --disable-pip-version-check atheris 2>/dev/null || \
		echo "atheris is not to be had for this Python: inputs are made by chance."
	@.venv/bin/python tests/fuzz/run.py $(ARGS)

check:           ## formatting, lint, types, the architecture test and known vulnerabilities
	@scripts/install test
	@.venv/bin/ruff format --check . && .venv/bin/ruff check . && .venv/bin/mypy
	@.venv/bin/python -m pytest -q tests/test_architecture.py
	@scripts/audit

format:          ## rewrite formatting and import order
	@scripts/install test
	@.venv/bin/ruff check --fix -q . ; .venv/bin/ruff format .

wheel:           ## build a wheel with the hot path compiled, for machines that serve, into dist/
	@scripts/install test
	@scripts/build-wheel

bench:           ## measure Penstock beside its peers; make bench ARGS=--quick is short
	@scripts/install test
	-@scripts/build-wheel
	@.venv/bin/python -m pip install -q --disable-pip-version-check -r benchmarks/requirements.txt
	@.venv/bin/python benchmarks/setup_peers.py
	@PENSTOCK_BENCH_PACKAGE=build/wheel .venv/bin/python benchmarks/run.py $(ARGS)

screenshots:     ## pictures of all pages of the dashboard into docs/images/
	@scripts/install test
	@.venv/bin/python docs/screenshots.py $(ARGS)

docs:            ## build the documents as a site into site/
	@scripts/install test
	@.venv/bin/zensical build --strict

lock:            ## resolve requirements/locked.txt anew for every supported Python
	@.venv/bin/python -m pip install -q uv
	@.venv/bin/uv pip compile -q --universal --python-version 3.10 --no-emit-package penstock \
		--no-header --no-annotate requirements/test.in -o requirements/locked.txt

clean:           ## remove .venv, the site and caches
	rm -rf .venv site .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
