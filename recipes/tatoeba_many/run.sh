#!/bin/sh
# Trains and evaluates one model from English to German, French, Spanish and Chinese (Tatoeba).
#
#   recipes/tatoeba_many/run.sh FOLDER [KEY=VALUE ...]
#
# FOLDER contains tatoeba_en_de, tatoeba_en_fr, tatoeba_en_es and tatoeba_en_zh/clean_split, each with
# train, dev and test as .en.gz and .de.gz, .fr.gz, .es.gz or .zh.gz. Run it again to resume. Prints chrF
# by language, and BLEU of each, at the end.
set -eu
usage="usage: recipes/tatoeba_many/run.sh FOLDER [KEY=VALUE ...]"
folder=$(realpath "${1:?$usage}")
shift
cd "$(dirname "$0")"
PATH=$(realpath ../..)/.venv/bin:$PATH

ln -sfn "$folder" data
asr-s2s train en-many.yaml "$@"
model=runs/en-many/model
asr-s2s evaluate --config en-many.yaml --model $model --worst 0
for language in de fr es; do
    asr-s2s evaluate "data/tatoeba_en_$language/test.{en,$language}.gz" --model $model --metric bleu --worst 0
done
asr-s2s evaluate 'data/tatoeba_en_zh/clean_split/test.{en,zh}.gz' --model $model --metric bleu \
    --bleu-tokenizer zh --worst 0
