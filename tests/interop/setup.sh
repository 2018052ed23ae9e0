#!/usr/bin/env bash
# Installs the programs that the interop tests talk to: hat-drivers, python-snap7, cubesat-space-protocol-py,
# cubesat-testbed and pyzmq in a venv, nodes7 and licklider in folders beside this file, tshark, coturn, nmap, xrdp,
# FreeRDP, rdesktop and a display for them from Debian.
# Run it again at will: what is there already is left alone.
set -euo pipefail
cd "$(dirname "$0")"

HAT_DRIVERS=0.10.10
SNAP7=3.3.0
CSP_PY=1.5.2
CUBESAT_TESTBED=1.1.0
PYZMQ=27.3.0
LICKLIDER=0.1.1
NODES7=0.3.18
VENV=.venv
NODE_ROOT=.node
LICKLIDER_ROOT=.licklider

# Whether a package of this version is in the venv.
have_package() {
    [ -x "$VENV/bin/python" ] &&
        "$VENV/bin/python" - "$1" "$2" <<'PY' 2>/dev/null
import importlib.metadata, sys
sys.exit(importlib.metadata.version(sys.argv[1]) != sys.argv[2])
PY
}

have_licklider() {
    [ "$("$LICKLIDER_ROOT/bin/licklider" --version 2>/dev/null)" = "licklider $LICKLIDER" ]
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo -- "$@"
    else
        echo "setup.sh: '$*' needs root; run as root or install sudo, or install the package by hand" >&2
        exit 1
    fi
}

apt_install() {
    command -v apt-get >/dev/null || {
        echo "setup.sh: no apt-get here; install by hand: $*" >&2
        exit 1
    }
    as_root apt-get update -q
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"
}

packages=()
command -v tshark >/dev/null || packages+=(tshark)
command -v turnserver >/dev/null || packages+=(coturn)
command -v xfreerdp >/dev/null || packages+=(freerdp2-x11)
command -v freerdp-shadow-cli >/dev/null || packages+=(freerdp2-shadow-x11)
command -v rdesktop >/dev/null || packages+=(rdesktop)
command -v xrdp >/dev/null || packages+=(xrdp)
command -v nmap >/dev/null || packages+=(nmap)
command -v npm >/dev/null || packages+=(nodejs npm)
command -v xvfb-run >/dev/null || packages+=(xvfb xauth)
command -v python3 >/dev/null || packages+=(python3)
# Debian's python3 comes without ensurepip, and a venv without pip is of no use.
command -v python3 >/dev/null && python3 -c 'import ensurepip' 2>/dev/null || packages+=(python3-venv)
if [ ${#packages[@]} -gt 0 ]; then
    apt_install "${packages[@]}" </dev/null
fi

install_package() {
    local name=$1 version=$2
    shift 2
    have_package "$name" "$version" && return
    "$VENV/bin/pip" install --quiet --disable-pip-version-check --no-input "$@" "$name==$version"
    have_package "$name" "$version" || {
        echo "setup.sh: $name $version does not import after its installation" >&2
        exit 1
    }
}

if ! have_package hat-drivers "$HAT_DRIVERS"; then
    rm -rf "$VENV"
    python3 -m venv "$VENV"
fi
install_package hat-drivers "$HAT_DRIVERS"
install_package python-snap7 "$SNAP7"
# It asks for Python 3.12 and runs on 3.11.
install_package cubesat-space-protocol-py "$CSP_PY" --ignore-requires-python
install_package cubesat-testbed "$CUBESAT_TESTBED"
install_package pyzmq "$PYZMQ"

if [ ! -d "$NODE_ROOT/node_modules/nodes7" ]; then
    npm install --silent --no-fund --no-audit --prefix "$NODE_ROOT" "nodes7@$NODES7"
fi

if ! have_licklider; then
    cargo install --quiet --locked --force --root "$LICKLIDER_ROOT" "licklider-cli@$LICKLIDER"
    have_licklider || {
        echo "setup.sh: licklider $LICKLIDER does not run after its installation" >&2
        exit 1
    }
fi

echo "hat-drivers $HAT_DRIVERS, python-snap7 $SNAP7, cubesat-space-protocol-py $CSP_PY, cubesat-testbed $CUBESAT_TESTBED, pyzmq $PYZMQ, licklider $LICKLIDER, nodes7 $NODES7, coturn $(turnserver --version 2>/dev/null | head -n 1), $(tshark --version 2>/dev/null | head -n 1)"
