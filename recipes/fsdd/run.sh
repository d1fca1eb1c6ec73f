#!/bin/sh
# Free Spoken Digit Dataset, from recordings to a scored model.
#
#   recipes/fsdd/run.sh FSDD_FOLDER [KEY=VALUE ...]
#
# FSDD_FOLDER is the dataset in its original layout. Run it again to resume. Ends with the word
# error rates expected and measured; the exit code is 1 if either is missed.
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
