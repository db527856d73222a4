#!/usr/bin/env bash
# Steps and epochs on a GPU, as tables: benchmarks/gpu.sh [--device cpu] [--quick] [further options]
# The fast paths are compared with their definition first, eager and compiled; a difference ends it.
# Options go to both benchmarks; PYTHON names another interpreter, TABLE the file that gets all tables.
set -euo pipefail
cd "$(dirname "$0")/.."
device=(--device cuda)
for option in "$@"; do
    if [[ $option == --device* ]]; then device=(); fi
done
python=${PYTHON:-.venv/bin/python}
table=${TABLE:-build/gpu.md}
mkdir -p "$(dirname "$table")"
checked=("${device[@]}")
for ((i = 1; i <= $#; i++)); do
    if [[ ${!i} == --quick || ${!i} == --device=* ]]; then checked+=("${!i}"); fi
    if [[ ${!i} == --device ]]; then
        next=$((i + 1))
        checked+=(--device "${!next}")
    fi
done
{
    "$python" -m benchmarks.correctness "${checked[@]}"
    "$python" -m benchmarks.correctness --compile "${checked[@]}"
    for precision in fp32 tf32; do
        "$python" -m benchmarks.throughput "${device[@]}" --precision "$precision" "$@"
        "$python" -m benchmarks.epoch_cost "${device[@]}" --precision "$precision" "$@"
    done
} | tee "$table"
echo "$table" >&2
