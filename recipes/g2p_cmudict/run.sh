#!/bin/sh
# Grapheme to phoneme: trains and evaluates a model from English words to the phonemes of CMUdict.
#
#   recipes/g2p_cmudict/run.sh FOLDER [KEY=VALUE ...]
#
# FOLDER contains train, dev and test as .tsv.gz: a word, a tab and its phonemes separated by spaces, one
# line per pronunciation. Run it again to resume. Prints expected and measured error rates at the end;
# the exit code is 1 if one exceeds its tolerance.
set -eu
usage="usage: recipes/g2p_cmudict/run.sh FOLDER [KEY=VALUE ...]"
folder=$(realpath "${1:?$usage}")
shift
cd "$(dirname "$0")"
PATH=$(realpath ../..)/.venv/bin:$PATH

ln -sfn "$folder" data
asr-s2s train g2p.yaml "$@"
asr-s2s evaluate data/test.tsv.gz --model runs/g2p/model --any-reference --expect 6.7 --tolerance 0.3
