#!/bin/sh
# Trains and evaluates a model on everyday sentences of Tatoeba, from English to Chinese or from
# Chinese to English.
#
#   recipes/tatoeba_en_zh/run.sh FOLDER [en-zh|zh-en] [KEY=VALUE ...]
#
# FOLDER contains train, dev and test as .en.gz and .zh.gz. Run it again to resume. Prints expected and
# measured BLEU at the end; the exit code is 1 if BLEU is below the tolerance.
set -eu
usage="usage: recipes/tatoeba_en_zh/run.sh FOLDER [en-zh|zh-en] [KEY=VALUE ...]"
folder=$(realpath "${1:?$usage}")
shift
pair=en-zh
case ${1:-} in en-zh | zh-en) pair=$1 && shift ;; esac
cd "$(dirname "$0")"
PATH=$(realpath ../..)/.venv/bin:$PATH

ln -sfn "$folder" data
case $pair in en-zh) expected=32.7 ;; zh-en) expected=25.9 ;; esac
asr-s2s train $pair.yaml "$@"
asr-s2s evaluate "data/test.{${pair%-*},${pair#*-}}.gz" --model runs/$pair/model --expect $expected --tolerance 0.5
