#!/bin/sh
# Trains and evaluates a model that replies to a turn of a conversation (DailyDialog).
#
#   recipes/dialogue_dailydialog/run.sh FOLDER [KEY=VALUE ...]
#
# FOLDER contains train.pairs, dev.pairs and test.pairs as .tsv.gz: a turn, a tab and the turn that
# follows. Run it again to resume. Prints perplexity, distinct-1, distinct-2 and BLEU at the end.
set -eu
usage="usage: recipes/dialogue_dailydialog/run.sh FOLDER [KEY=VALUE ...]"
folder=$(realpath "${1:?$usage}")
shift
cd "$(dirname "$0")"
PATH=$(realpath ../..)/.venv/bin:$PATH

ln -sfn "$folder" data
asr-s2s train dialogue.yaml "$@"
asr-s2s evaluate --config dialogue.yaml --model runs/dialogue/model
