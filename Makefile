# Seven verbs, for a checkout with `pip install -e ".[test,docs]"`.
.PHONY: test lint types docs site bench release
ROOMS = datasets encoders envs agents benchmarks

test:  ## all tests that need no network, GPU, browser or data set; minutes
	pytest -n auto

lint:  ## style
	ruff check .
	ruff format --check .

types:  ## of the five rooms, however the package is installed: mypy cannot follow an editable install
	mkdir -p build/types/sketchless
	ln -sfn $(ROOMS:%=$(CURDIR)/%) build/types/sketchless/
	MYPYPATH=build/types mypy $(ROOMS:%=-p sketchless.%)

docs:  ## the pages: their programs run, their links lead somewhere, their tables and words are those of the code
	python tests/test_architecture.py
	pytest tests/test_pages.py tests/test_readme.py tests/test_glossary.py tests/test_your_own_data.py tests/datasets/test_page.py

site:  ## the pages, and one for each public name and id, in build/site: a warning is an error
	sphinx-build -c docs --fail-on-warning --keep-going --quiet . build/site

bench:  ## a few readings of each speed, in seconds; `sketchless bench` measures in earnest
	sketchless bench env --quick
	sketchless bench kernels --quick

release: lint types  ## an sdist and a wheel in dist/, checked, installed and tested as their users do; needs the extra `release`
	.ci/release
