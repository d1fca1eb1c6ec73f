#!/bin/sh
# Trains and evaluates a model from English to German on everyday sentences of Tatoeba.
#
#   recipes/tatoeba_en_de/run.sh FOLDER NAMES [KEY=VALUE ...]
#
# FOLDER contains train, dev and test as .en.gz and .de.gz; NAMES contains names.txt.gz and
# places.txt.gz, one name per line, which replace names in training. Run it again to resume. Ends with the
# BLEU on the test set.
set -eu
usage="usage: recipes/tatoeba_en_de/run.sh FOLDER NAMES [KEY=VALUE ...]"
folder=$(realpath "${1:?$usage}")
names=$(realpath "${2:?$usage}")
shift 2
cd "$(dirname "$0")"
PATH=$(realpath ../..)/.venv/bin:$PATH

mkdir -p data
ln -sf "$folder"/train.*.gz "$folder"/dev.*.gz "$folder"/test.*.gz "$names"/names.txt.gz "$names"/places.txt.gz data/
asr-s2s train en-de.yaml "$@"
asr-s2s evaluate 'data/test.{en,de}.gz' --model runs/en-de/model
