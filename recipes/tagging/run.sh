#!/bin/sh
# Trains and evaluates a model from commands to sequences of actions (SCAN).
#
#   recipes/tagging/run.sh FOLDER [simple|length] [KEY=VALUE ...]
#
# FOLDER contains simple_train, simple_test, length_train and length_test as .tsv.gz: a command, a tab
# and its actions. Run it again to resume. Prints the share of right sequences at the end.
set -eu
usage="usage: recipes/tagging/run.sh FOLDER [simple|length] [KEY=VALUE ...]"
folder=$(realpath "${1:?$usage}")
shift
cd "$(dirname "$0")"
PATH=$(realpath ../..)/.venv/bin:$PATH

split=simple
case ${1:-} in simple | length) split=$1 && shift ;; esac
mkdir -p data/$split
# Every twentieth line of the training data chooses the checkpoints.
zcat "$folder/${split}_train.tsv.gz" |
    awk -v to="data/$split/" '{ print >(to (NR % 20 ? "train.tsv" : "valid.tsv")) }'
zcat "$folder/${split}_test.tsv.gz" >data/$split/test.tsv
asr-s2s train scan.yaml "data.train=[data/$split/train.tsv]" "data.valid=[data/$split/valid.tsv]" \
    -o runs/$split "$@"
asr-s2s evaluate data/$split/test.tsv --metric accuracy --model runs/$split/model
