#!/bin/sh
# Grapheme to phoneme: English words to the phonemes of CMUdict, from the dictionary to a scored
# model.
#
#   recipes/g2p_cmudict/run.sh FOLDER [KEY=VALUE ...]
#
# FOLDER holds train, dev and test as .tsv.gz: a word, a tab, its phonemes with blanks between, a line
# for each pronunciation. Run it again to resume. Ends with the error rates expected and measured; the
# exit code is 1 if they are missed.
set -eu
usage="usage: recipes/g2p_cmudict/run.sh FOLDER [KEY=VALUE ...]"
folder=$(realpath "${1:?$usage}")
shift
cd "$(dirname "$0")"
PATH=$(realpath ../..)/.venv/bin:$PATH

ln -sfn "$folder" data
asr-s2s train g2p.yaml "$@"
asr-s2s evaluate data/test.tsv.gz --model runs/g2p/model --any-reference --expect 6.7 --tolerance 0.3
