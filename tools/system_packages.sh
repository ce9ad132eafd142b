#!/usr/bin/env bash
# Checks the system packages that pip cannot bring, and installs the missing ones where it may.
set -euo pipefail

missing=()
ldconfig -p 2>/dev/null | grep -q 'libusb-1\.0\.so' || missing+=(libusb-1.0-0) # open3d loads it
ldconfig -p 2>/dev/null | grep -q 'libGL\.so\.1' || missing+=(libgl1)          # open3d loads it
ldconfig -p 2>/dev/null | grep -q 'libEGL\.so\.1' || missing+=(libegl1)        # open3d loads it
ldconfig -p 2>/dev/null | grep -q 'libgomp\.so\.1' || missing+=(libgomp1)      # faiss and torch load it
[ -x .venv/bin/pip ] || python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
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
