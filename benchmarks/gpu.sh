#!/usr/bin/env bash
# Steps and epochs on a GPU, as tables: benchmarks/gpu.sh [--device cpu] [--quick] [further options]
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
for precision in fp32 tf32; do
    "$python" -m benchmarks.throughput "${device[@]}" --precision "$precision" "$@"
    "$python" -m benchmarks.epoch_cost "${device[@]}" --precision "$precision" "$@"
done | tee "$table"
echo "$table" >&2
