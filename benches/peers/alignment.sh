#!/usr/bin/env bash
# Compares the aligned read buffer with one that begins where the allocator put
# it. Prints the time and the processor time of the row "raw bytes" on peerloop
# for each pair of runs, and the medians of the ratios.
# usage: alignment.sh [PAIRS]; 9 pairs by default.
set -euo pipefail
cd "$(dirname "$0")/../.."
pairs=${1:-9}
target=${CARGO_TARGET_DIR:-$PWD/benches/peers/target}/alignment
mkdir -p "$target"
target=$(cd "$target" && pwd)

# A copy of the repository, without the alignment.
copy=$target/default
rm -rf "$copy"
mkdir "$copy"
git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$copy"
sed -i 's|start: FRONT + to_page + PAGE / 2|start: FRONT + to_page * 0|' "$copy/src/buffers/read_buffer.rs"
if cmp -s {,"$copy/"}src/buffers/read_buffer.rs; then
    echo "read_buffer.rs has no line to replace" >&2
    exit 1
fi

build() {
    (cd "$1/benches/peers" && CARGO_TARGET_DIR="$target" cargo build --release --locked --bin peers --quiet)
    cp "$target/release/peers" "$target/$2"
}
build . aligned
build "$copy" unaligned

# Prints the time and the processor time that a program takes for a block, in
# microseconds.
run() {
    "$target/$1" --only "raw bytes" --rounds 1 2>/dev/null |
        awk -F '|' '/^. raw bytes/ {
            split($3, figure, " ")
            print figure[1] * (figure[2] == "ns" ? 0.001 : figure[2] == "ms" ? 1000 : 1)
        }' | xargs
}

# Prints the median of a column of the pairs.
median() {
    awk -v column="$1" '{ print $column }' "$target/pairs" | sort -n | awk '
        { value[NR] = $1 }
        END { print (value[int((NR + 1) / 2)] + value[int(NR / 2) + 1]) / 2 }'
}

echo "time aligned, default, ratio; processor time aligned, default, ratio (µs for 256 KiB)"
for ((pair = 0; pair < pairs; pair++)); do
    # The first of one pair is the second of the next.
    if ((pair % 2)); then
        aligned=$(run aligned) default=$(run unaligned)
    else
        default=$(run unaligned) aligned=$(run aligned)
    fi
    echo "$aligned $default" |
        awk '{ printf "%.1f %.1f %.3f %.1f %.1f %.3f\n", $1, $3, $3 / $1, $2, $4, $4 / $2 }'
done | tee "$target/pairs"
echo "median ratio of $pairs pairs: time $(median 3), processor time $(median 6)"
