# Everything that a fresh machine needs: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
DEMO ?= demo

# librosa's compiled loops are cached at their first use; two processes that do so at once, as the
# tests' workers would, can spoil each other's cache.
define WARM_UP
import librosa, numpy
for kind in (numpy.float32, numpy.float64):
    librosa.pyin(numpy.random.default_rng(0).normal(size=8192).astype(kind), fmin=100, fmax=200)
endef
export WARM_UP

.PHONY: demo install test packages lint check clean

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11, 3.12 or 3.13 is needed, and this is %s: run make PYTHON=python3.11" % sys.version.split()[0] if not (3, 11) <= sys.version_info[:2] < (3, 14) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python -c "$$WARM_UP"
	touch $@

demo: install
	$(BIN)/stemwright demo $(DEMO)/session-and-reference --mix $(DEMO)/mix

# Programs that some tests use; where they cannot be installed those tests skip and say so. The tests
# start a PostgreSQL of their own: the package is told to make and start none.
DEBIAN_PACKAGES := chromium espeak-ng ffmpeg postgresql
packages:
	@for package in $(DEBIAN_PACKAGES); do \
	  dpkg -s $$package >/dev/null 2>&1 || missing="$$missing $$package"; \
	done; \
	if [ -n "$$missing" ]; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    case "$$missing" in *postgresql*) \
	      mkdir -p /etc/postgresql-common && cd /etc/postgresql-common && \
	      { [ -e createcluster.conf ] || echo 'create_main_cluster = false' > createcluster.conf; }; \
	    esac; \
	    apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $$missing >/dev/null; \
	  else false; fi || echo "not installed:$$missing; the tests that need them will skip"; \
	fi

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

test: install packages lint
	$(BIN)/python -m pytest -n auto --dist worksteal

clean:
	rm -rf $(VENV) $(DEMO) build dist *.egg-info
