#!/bin/sh
# The same tunnel over a wide-area link, on each network of ours in turn: runs a lab of network namespaces and prints its
# results, one key=value line each behind the network's name, and then bulk beside direct TCP in the same run.
# usage: WANLAB_DIR=/path/to/wanlab bench/wan.sh [DELAY_MS=20] [LOSS_PCT=0] [CC=cubic] [PARTS="ttfb bulk cut hub"]
# NETS="aio native" chooses networks. Needs root, and what the lab needs (its README says).
# Targets of native with 20 ms: first byte within 90 ms, bulk 0.8 of direct, four streams twice one.
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
PYTHON=${PYTHON:-$here/../.venv/bin/python}
export ZTM

# "bulk_tunnel_down 290.1 Mbit/s" and the like become what they are of direct TCP, and four streams of one
ratios() {
    awk -v net="$1" '
        /^bulk_/ { rate[$1] = $2 }
        END {
            for (way = split("up down", ways); way > 0; way--) {
                direct = rate["bulk_direct_" ways[way]]
                if (direct > 0) printf "%s bulk_%s_of_direct=%.2f\n", net, ways[way], rate["bulk_tunnel_" ways[way]] / direct
            }
            if (rate["bulk_tunnel_down"] > 0)
                printf "%s four_streams_of_one=%.2f\n", net, rate["bulk_tunnel_down_P4"] / rate["bulk_tunnel_down"]
        }'
}

for net in ${NETS:-aio native}; do
    if [ "$net" = native ] && ! "$PYTHON" -c 'import ztm_native' 2>/dev/null; then
        echo 'native: not installed'
        continue
    fi
    said=$(mktemp)
    ZTM_NET=$net bash "$lab/wanbench.sh" "${1:-20}" "${2:-0}" "${3:-cubic}" "${4:-ttfb bulk cut hub}" >"$said"
    sed "s/^/$net /" "$said"
    ratios "$net" <"$said"
    rm -f "$said"
done
