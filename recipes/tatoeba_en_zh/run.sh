#!/bin/sh
# English to Chinese on everyday sentences of Tatoeba, from line-aligned files to a scored model.
#
#   recipes/tatoeba_en_zh/run.sh FOLDER [KEY=VALUE ...]
#
# FOLDER holds train, dev and test as .en.gz and .zh.gz. Run it again to resume. Ends with the BLEU
# expected and measured; the exit code is 1 if it is missed.
set -eu
usage="usage: recipes/tatoeba_en_zh/run.sh FOLDER [KEY=VALUE ...]"
folder=$(realpath "${1:?$usage}")
shift
cd "$(dirname "$0")"
PATH=$(realpath ../..)/.venv/bin:$PATH

ln -sfn "$folder" data
asr-s2s train en-zh.yaml "$@"
asr-s2s evaluate "data/test.{en,zh}.gz" --model runs/en-zh/model --expect 25.0 --tolerance 1.0
