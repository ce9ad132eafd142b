#!/usr/bin/env bash
# Builds the package with colcon and runs the tests that need ROS 2:
# launch_tests.sh VENV SETUP_BASH [pytest arguments]
set -eo pipefail # not -u: ROS's set-up reads variables that are not set
venv=$1 setup=$2
shift 2
here=build/ros

# shellcheck disable=SC1090
source "$setup"
"$venv/bin/python" -m colcon --log-base "$here/log" build --base-paths . \
    --build-base "$here/build" --install-base "$here/install" --event-handlers console_direct-
# shellcheck disable=SC1091
source "$here/install/local_setup.bash"
exec "$venv/bin/python" -m pytest test/launch "$@"
