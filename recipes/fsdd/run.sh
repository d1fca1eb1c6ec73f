#!/bin/sh
# Prepares the Free Spoken Digit Dataset, trains and evaluates a model.
#
#   recipes/fsdd/run.sh FSDD_FOLDER [KEY=VALUE ...]
#
# FSDD_FOLDER is the dataset in its original layout. Run it again to resume. Prints expected and
# measured word error rates at the end; the exit code is 1 if one exceeds its tolerance.
set -eu
corpus=$(realpath "${1:?usage: recipes/fsdd/run.sh FSDD_FOLDER [KEY=VALUE ...]}")
shift
cd "$(dirname "$0")"
PATH=$(realpath ../..)/.venv/bin:$PATH

python prepare.py "$corpus" data
asr-s2s train digits.yaml "$@"
model=runs/digits/model
asr-s2s evaluate data/test_single.jsonl --model $model --expect 0.3 --tolerance 0.7 || missed=single
asr-s2s evaluate data/test_connected.jsonl --model $model --expect 0.6 --tolerance 1.4 || missed=connected
[ -z "${missed:-}" ]
