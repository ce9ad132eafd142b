#!/usr/bin/env bash
# Makes or renews a virtual environment: make_environment.sh FOLDER PYTHON plain|ros EXTRAS
# EXTRAS of the package, separated by commas. For ROS 2 it is made by the Python that ROS was built
# for and sees its system packages. Python compiles what it imports, when it does: pip would compile
# everything, which takes longer than the rest of a small install.
set -euo pipefail
folder=$1 python=$2 kind=$3 extras=$4
unset PYTHONPATH # a sourced ROS must not decide what is installed

system=false
[ "$kind" = ros ] && system=true
if [ -e "$folder" ] && ! grep -qs "include-system-site-packages = $system" "$folder/pyvenv.cfg"; then
    echo "set-up: making $folder again, $([ "$kind" = ros ] && echo with || echo without) ROS 2"
    rm -rf "$folder"
fi
if [ "$kind" = plain ]; then
    [ -x "$folder/bin/pip" ] || "$python" -m venv "$folder"
    exec "$folder/bin/pip" install --quiet --disable-pip-version-check --no-compile --editable ".[$extras]"
fi
[ -x "$folder/bin/pip" ] || "$python" -m venv --system-site-packages "$folder"
export PIP_CONSTRAINT=$PWD/tools/ros_constraints.txt
"$folder/bin/pip" install --quiet --disable-pip-version-check --no-compile --editable ".[$extras]" transforms3d
[[ ,$extras, == *,test,* ]] || exit 0
"$folder/bin/pip" install --quiet --disable-pip-version-check --no-compile colcon-common-extensions setuptools
# mypy looks at numpy 2's types, which are better than those of numpy 1
PIP_CONSTRAINT='' "$folder/bin/pip" install --quiet --disable-pip-version-check --no-compile \
    --no-deps --upgrade --target "$folder/numpy2" 'numpy>=2'
