#!/usr/bin/env bash
# Checks the system packages that pip cannot bring, and installs the missing ones where it may.
set -euo pipefail

python=${PYTHON:-python3}
missing=()
libraries=$(ldconfig -p 2>/dev/null || true)
grep -q 'libusb-1\.0\.so' <<<"$libraries" || missing+=(libusb-1.0-0) # open3d loads it
grep -q 'libGL\.so\.1' <<<"$libraries" || missing+=(libgl1)          # open3d loads it
grep -q 'libEGL\.so\.1' <<<"$libraries" || missing+=(libegl1)        # open3d loads it
grep -q 'libgomp\.so\.1' <<<"$libraries" || missing+=(libgomp1)      # faiss and torch load it
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
