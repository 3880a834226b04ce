#!/bin/sh
# Installs the tunnels that ours is measured beside, the load generators, the link emulator, and valgrind.
set -e
here=$(cd "$(dirname "$0")" && pwd)
apt-get update -q
apt-get install -yq iperf3 wrk nginx-light curl socat stunnel4 openssh-server iproute2 nftables openssl valgrind >/dev/null
cargo install rathole --version 0.5.0 --root "${TMPDIR:-/tmp}"/peers
CARGO_TARGET_DIR="${TMPDIR:-/tmp}"/wan-target cargo build --release --manifest-path "$here/wan/Cargo.toml"
