#!/bin/sh
# The same tunnel over a wide-area link: runs a lab of network namespaces and prints its results, one key=value line each.
# usage: WANLAB_DIR=/path/to/wanlab bench/wan.sh [DELAY_MS=20] [LOSS_PCT=0] [CC=cubic] [PARTS="ttfb bulk cut hub"]
# Needs root, and what the lab needs (its README says).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
lab=${WANLAB_DIR:-}
if [ ! -f "$lab/wanbench.sh" ]; then
    echo "wan.sh: set WANLAB_DIR to the folder of the wide-area lab (the one with wanbench.sh), not '$lab'" >&2
    exit 2
fi
if [ "$(id -u)" != 0 ]; then
    echo 'wan.sh: network namespaces need root' >&2
    exit 1
fi
ZTM=${ZTM:-$here/../.venv/bin/ztm}
export ZTM
exec bash "$lab/wanbench.sh" "${1:-20}" "${2:-0}" "${3:-cubic}" "${4:-ttfb bulk cut hub}"
