#!/bin/sh
# Grapheme to phoneme: trains and evaluates one model for 15 languages (SIGMORPHON 2020, task 1).
#
#   recipes/g2p_sigmorphon/run.sh FOLDER [KEY=VALUE ...]
#
# FOLDER contains LANGUAGE_train, LANGUAGE_dev and LANGUAGE_test as .tsv.gz for each language: a word, a
# tab and its phonemes separated by spaces. Run it again to resume. Prints error rates by language, and
# their means, at the end.
set -eu
usage="usage: recipes/g2p_sigmorphon/run.sh FOLDER [KEY=VALUE ...]"
folder=$(realpath "${1:?$usage}")
shift
cd "$(dirname "$0")"
PATH=$(realpath ../..)/.venv/bin:$PATH

ln -sfn "$folder" data
asr-s2s train g2p.yaml "$@"
asr-s2s evaluate --config g2p.yaml --model runs/g2p/model
