#!/bin/sh
# Prepares Speech Commands and the Free Spoken Digit Dataset, trains and evaluates the shipped
# model `digits`.
#
#   recipes/speechcommands_digits/run.sh SPEECH_COMMANDS_FOLDER FSDD_FOLDER [KEY=VALUE ...]
#
# SPEECH_COMMANDS_FOLDER is the corpus in its original layout, or a folder of manifests (see
# prepare.py). Run it again to resume. Prints expected and measured word error rates at the end; the
# exit code is 1 if one exceeds its tolerance.
set -eu
usage="usage: recipes/speechcommands_digits/run.sh SPEECH_COMMANDS_FOLDER FSDD_FOLDER [KEY=VALUE ...]"
commands=$(realpath "${1:?$usage}")
fsdd=$(realpath "${2:?$usage}")
shift 2
cd "$(dirname "$0")"
PATH=$(realpath ../..)/.venv/bin:$PATH

python ../fsdd/prepare.py "$fsdd" ../fsdd/data
python prepare.py "$commands" data
asr-s2s train digits.yaml "$@"
model=runs/digits/model
asr-s2s evaluate data/test_single.jsonl --model $model --expect 3.3 --tolerance 0.7 || missed=single
asr-s2s evaluate data/test_connected.jsonl --model $model --expect 3.3 --tolerance 1.0 || missed=connected
asr-s2s evaluate ../fsdd/data/test_single.jsonl --model $model --expect 0.0 --tolerance 1.0 || missed=fsdd
asr-s2s evaluate ../fsdd/data/test_connected.jsonl --model $model --expect 0.1 --tolerance 0.7 || missed=fsdd
[ -z "${missed:-}" ]
