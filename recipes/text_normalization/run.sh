#!/bin/sh
# Trains and evaluates a model from written to spoken numbers, dates and the like.
#
#   recipes/text_normalization/run.sh FOLDER [KEY=VALUE ...]
#
# FOLDER contains train, dev and test as .tsv.gz: a written form, a tab, its spoken form, a tab and its
# class. Run it again to resume. Prints the share of right outputs by class at the end.
set -eu
usage="usage: recipes/text_normalization/run.sh FOLDER [KEY=VALUE ...]"
folder=$(realpath "${1:?$usage}")
shift
cd "$(dirname "$0")"
PATH=$(realpath ../..)/.venv/bin:$PATH

ln -sfn "$folder" data
asr-s2s train numbers.yaml "$@"
asr-s2s evaluate --config numbers.yaml --by class --metric accuracy --model runs/numbers/model
