# make setup | demo | test | lint | bench; each runs the set-up first, which costs nothing the second time.
PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/set-up-done
# One thread a test process: two processes share the cores.
ONE_THREAD := OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1

.PHONY: setup demo test lint bench clean
.DELETE_ON_ERROR:

setup: $(STAMP)

$(STAMP): setup.py setup.cfg pyproject.toml tools/system_packages.sh
	@tools/system_packages.sh
	@test -x $(VENV)/bin/pip || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

demo: setup
	$(VENV)/bin/fgsn demo --output demo --overwrite

lint: setup
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

test: lint
	@[ -n "$$ROS_DISTRO" ] || ls /opt/ros/*/setup.bash >/dev/null 2>&1 || \
		echo "no ROS 2 found: its launch tests were skipped"
	$(ONE_THREAD) $(VENV)/bin/python -m pytest -n 2

bench: setup
	$(VENV)/bin/python benchmark/measurement_kernel.py
	$(VENV)/bin/python benchmark/localization_speed.py

clean:
	rm -rf $(VENV) build install log demo
