#!/usr/bin/env bash
# Checks the system packages that pip cannot bring, and installs the missing ones where it may:
# system_packages.sh EXTRAS (of the package, separated by commas; empty: the core alone)
set -euo pipefail

python=${PYTHON:-python3}
missing=()
libraries=$(ldconfig -p 2>/dev/null || true)
require() { grep -q "$1" <<<"$libraries" || missing+=("$2"); }

case ",$1," in *,all,* | *,simulation,*) # open3d loads them
    require 'libusb-1\.0\.so' libusb-1.0-0
    require 'libGL\.so\.1' libgl1
    require 'libEGL\.so\.1' libegl1
    require 'libgomp\.so\.1' libgomp1
    ;;
esac
case ",$1," in *,torch,* | *,train,*) require 'libgomp\.so\.1' libgomp1 ;; esac # torch and faiss too
[ -x .venv/bin/pip ] || "$python" -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
[ ${#missing[@]} -eq 0 ] && exit 0

as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(sudo -n)
if command -v apt-get >/dev/null && { [ ${#as_root[@]} -eq 0 ] || sudo -n true 2>/dev/null; }; then
    echo "set-up: installing ${missing[*]}"
    "${as_root[@]}" apt-get update -qq &&
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -yqq "${missing[@]}" >/dev/null &&
        exit 0
fi
echo "set-up: missing ${missing[*]}; run: sudo apt-get install ${missing[*]}" >&2
exit 1
