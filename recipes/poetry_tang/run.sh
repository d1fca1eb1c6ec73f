#!/bin/sh
# Trains and evaluates a model that answers a line of a Tang poem with the line that matches it.
#
#   recipes/poetry_tang/run.sh FOLDER [KEY=VALUE ...]
#
# FOLDER contains couplet_train, couplet_dev and couplet_test as .tsv.gz: a line of five or seven
# characters, a tab and the next line. Run it again to resume. Prints perplexity, BLEU and distinct-n at
# the end.
set -eu
usage="usage: recipes/poetry_tang/run.sh FOLDER [KEY=VALUE ...]"
folder=$(realpath "${1:?$usage}")
shift
cd "$(dirname "$0")"
PATH=$(realpath ../..)/.venv/bin:$PATH

ln -sfn "$folder" data
asr-s2s train couplets.yaml "$@"
asr-s2s evaluate --config couplets.yaml --model runs/couplets/model
