#!/usr/bin/env bash
# Makes the install of a robot, the package without extras, in an environment of its own; localizes
# a short bag with it, and prints its size: robot_install.sh FGSN PYTHON FOLDER
# FGSN is a `fgsn` with the simulation, which drives and maps.
set -euo pipefail
fgsn=$1 python=$2 folder=$3
venv=$folder/venv network=fgsn_ros/data/town.onnx
unset PYTHONPATH # a sourced ROS must not decide what is installed

rm -rf "$folder" build/lib build/bdist.* # of an earlier build: pip would install what was there
mkdir -p "$folder"
"$python" -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check .

drive=(--town-seed 2024 --duration-s 4 --no-stops)
"$fgsn" simulate drive "${drive[@]}" --season summer --drive-seed 0 --output "$folder/summer"
"$fgsn" simulate drive "${drive[@]}" --season winter --drive-seed 1 --output "$folder/winter"
"$fgsn" map "$folder/summer" --checkpoint $network --output "$folder/map"

# from another folder, so that the installed package is run and not the one here
here=$PWD
cd "$folder"
venv/bin/python - <<'CHECK'
import importlib.util as found

extra = ("torch", "open3d", "faiss", "h5py", "tensorboard", "matplotlib")
installed = [name for name in extra if found.find_spec(name)]
assert not installed, f"the robot's install brings {installed}"
CHECK
venv/bin/fgsn localize winter --map map --checkpoint "$here/$network" --output localized
echo "the robot's install: $(du -sm venv | cut -f1) MB"
