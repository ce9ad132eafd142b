# make setup | demo | test | fuzz | lint | docs | robot | bench; each installs what it needs first, which costs
# nothing the second time. `demo` and `robot` need less than `setup` installs: no PyTorch.
# Where ROS 2 is (sourced, or in /opt/ros), the set-up is made for it and `make test` runs its tests too.
ROS_SETUP := $(firstword $(wildcard /opt/ros/$(or $(ROS_DISTRO),*)/setup.bash) $(if $(ROS_DISTRO),/dev/null))
KIND := $(if $(ROS_SETUP),ros,plain)
PYTHON ?= $(if $(ROS_SETUP),/usr/bin/python3,python3)
VENV := .venv
STAMP := $(VENV)/set-up-$(KIND)
SIMULATION_STAMP := $(VENV)/simulation-$(KIND)
COMMA := ,
# One thread a test process: two processes share the cores.
ONE_THREAD := OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1

.PHONY: setup demo test fuzz lint docs robot bench clean
.DELETE_ON_ERROR:

setup: $(STAMP)

INSTALL := setup.py setup.cfg pyproject.toml tools/system_packages.sh tools/make_environment.sh tools/ros_constraints.txt

# The live view needs numpy 2, ROS 2 has numpy 1.
$(STAMP): EXTRAS := $(if $(ROS_SETUP),train$(COMMA)simulation,all)$(COMMA)test$(COMMA)docs
$(SIMULATION_STAMP): EXTRAS := simulation
$(STAMP) $(SIMULATION_STAMP): $(INSTALL)
	@PYTHON=$(PYTHON) tools/system_packages.sh $(EXTRAS)
	@tools/make_environment.sh $(VENV) $(PYTHON) $(KIND) $(EXTRAS)
	@touch $@

# What the whole set-up has installed need not be installed again.
SIMULATION := $(if $(wildcard $(STAMP)),$(STAMP),$(SIMULATION_STAMP))

demo: $(SIMULATION)
	$(VENV)/bin/fgsn demo --output demo --overwrite

lint: setup
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(if $(ROS_SETUP),MYPYPATH=$(VENV)/numpy2) $(VENV)/bin/mypy

test: lint
	$(ONE_THREAD) $(VENV)/bin/python -m pytest -n 2 --ignore=test/launch
ifdef ROS_SETUP
	$(ONE_THREAD) tools/launch_tests.sh $(VENV) $(ROS_SETUP)
else
	@echo "no ROS 2 found: its launch tests were skipped"
endif

# Damaged inputs of all readers, COUNT in all; the same again for the same SEED.
fuzz: setup
	$(ONE_THREAD) PYTHONPATH=test/fuzz $(VENV)/bin/python -m fuzzing \
	    --count $(or $(COUNT),200000) --seed $(or $(SEED),0)

docs: setup
	$(VENV)/bin/mkdocs build --strict

robot: $(SIMULATION)
	@tools/robot_install.sh $(VENV)/bin/fgsn $(PYTHON) build/robot

bench: setup
	$(VENV)/bin/python benchmark/page.py

clean:
	rm -rf $(VENV) build install log demo site
