#!/bin/sh
# Trains and evaluates a model from English to German or French on Multi30k.
#
#   recipes/multi30k/run.sh MULTI30K_FOLDER [de|fr] [KEY=VALUE ...]
#
# MULTI30K_FOLDER is a clone of the public repository (multi30k/dataset), or a folder that contains
# train, val and test_2016_flickr as .en.gz and .de.gz or .fr.gz. Run it again to resume. Prints
# expected and measured BLEU at the end; the exit code is 1 if BLEU is below the tolerance.
set -eu
usage="usage: recipes/multi30k/run.sh MULTI30K_FOLDER [de|fr] [KEY=VALUE ...]"
folder=$(realpath "${1:?$usage}")
shift
language=de
case ${1:-} in de | fr) language=$1 && shift ;; esac
cd "$(dirname "$0")"
PATH=$(realpath ../..)/.venv/bin:$PATH

raw=$folder/data/task1/raw
[ -d "$raw" ] || raw=$folder
ln -sfn "$raw" data
case $language in de) expected=38.5 ;; fr) expected=59.3 ;; esac
asr-s2s train en-$language.yaml "$@"
asr-s2s evaluate "data/test_2016_flickr.{en,$language}.gz" --model runs/en-$language/model \
    --lowercase-tokenized $language --expect $expected --tolerance 0.5
