#!/bin/sh
# Trains and evaluates a model that writes the subject line of an e-mail (AESLC).
#
#   recipes/summaries_aeslc/run.sh FOLDER [KEY=VALUE ...]
#
# FOLDER contains train, dev and test as .tsv.gz: an id, a tab, the e-mail in one line, a tab and its
# subject. Run it again to resume. Prints ROUGE at the end.
set -eu
usage="usage: recipes/summaries_aeslc/run.sh FOLDER [KEY=VALUE ...]"
folder=$(realpath "${1:?$usage}")
shift
cd "$(dirname "$0")"
PATH=$(realpath ../..)/.venv/bin:$PATH

ln -sfn "$folder" data
asr-s2s train aeslc.yaml "$@"
asr-s2s evaluate --config aeslc.yaml --model runs/aeslc/model
