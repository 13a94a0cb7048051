#!/bin/sh
# Measures on a GPU all that needs one, in about ten minutes, and writes a result file for each part.
#
#   sh benchmarks/gpu.sh OUT                 all of it, on the first GPU
#   sh benchmarks/gpu.sh OUT cpu --quick     the same steps with small sizes and without a GPU, to see that they run
#
# A part that fails is named at the end, and the others still run.
set -u
out=${1:?give a folder for the results}
device=${2:-cuda}
quick=${3:-}
passes=20 batches="1024 4096 16384" limit=150 # seconds a part
[ -n "$quick" ] && passes=0.2 batches="4 8" limit=3600
failed=""
mkdir -p "$out"

part() {
    name=$1
    shift
    echo "== $name"
    timeout $limit python -m sketchless "$@" --out "$out/$name" > "$out/$name.txt" 2>&1 || failed="$failed $name"
    tail -n 25 "$out/$name.txt"
}

[ "$device" = cuda ] && nvidia-smi > "$out/gpu.txt"
# Equal numbers first: ranks and taus of the device beside those of the CPU.
[ "$device" = cuda ] && { python -m pytest -q tests/envs/kernels -k triton > "$out/triton.txt" 2>&1 || failed="$failed triton"; }
# CUDA graphs, of a rollout and of a whole update, beside the same without.
graphs="tests/envs/test_no_sync.py tests/agents/policy_gradient/test_graph.py"
[ "$device" = cuda ] && { timeout $limit python -m pytest -q -m gpu $graphs > "$out/graphs.txt" 2>&1 || failed="$failed graphs"; }
part kernels bench kernels --device "$device" $quick
part env bench env --device "$device" --repeats 3 --galleries 300 1800 --batches $batches $quick
part training bench training --device "$device" --repeats 3 $quick
part seeds train --seeds 0-9 --passes "$passes" --device "$device" --logger none --no-gif
if [ -n "$failed" ]; then
    echo "failed:$failed"
    exit 1
fi
