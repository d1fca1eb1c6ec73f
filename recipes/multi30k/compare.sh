#!/bin/sh
# Ablations: trains small models that differ in one setting with the same budget, and evaluates them on
# the test set with beam 5 and greedy search.
#
#   recipes/multi30k/compare.sh MULTI30K_FOLDER NAME ...
#   recipes/multi30k/compare.sh MULTI30K_FOLDER all
#
# Names are those of `settings` below. Outputs are written to runs/compare/NAME. Each model is compared
# with `baseline`, which must be trained first; the comparison is also written to compare.html.
set -eu
usage="usage: recipes/multi30k/compare.sh MULTI30K_FOLDER all|NAME ..."
folder=$(realpath "${1:?$usage}")
shift
: "${1:?$usage}"
cd "$(dirname "$0")"
PATH=$(realpath ../..)/.venv/bin:$PATH
raw=$folder/data/task1/raw
[ -d "$raw" ] || raw=$folder
ln -sfn "$raw" data

settings() {
    case $1 in
    baseline) ;;
    fixed-vector) echo decoder.attention=none ;;
    fixed-vector-forward) echo decoder.attention=none text_encoder.bidirectional=false ;;
    fixed-vector-reversed) echo decoder.attention=none text_encoder.bidirectional=false text_encoder.reverse=true ;;
    dot) echo decoder.attention=dot ;;
    multihead) echo decoder.attention=multihead ;;
    input-feeding) echo decoder.input_feeding=true ;;
    gru) echo text_encoder.cell=gru decoder.cell=gru ;;
    transformer) echo text_encoder.cell=transformer text_encoder.size=256 text_encoder.layers=3 train.learning_rate=1e-3 ;;
    *) echo "unknown setting $1" >&2 && return 1 ;;
    esac
}

[ "$1" != all ] || set -- baseline fixed-vector fixed-vector-forward fixed-vector-reversed dot multihead input-feeding gru transformer
for name in "$@"; do
    changes=$(settings "$name")
    run=runs/compare/$name
    # shellcheck disable=SC2086 - several settings
    asr-s2s train compare.yaml $changes -o "$run"
    for beam in 5 1; do
        echo "== $name, beam $beam"
        asr-s2s evaluate 'data/test_2016_flickr.{en,de}.gz' --model "$run/model" --beam-size $beam \
            --lowercase-tokenized de --worst 0 --output "$run/test-beam$beam.jsonl"
    done
    [ "$name" = baseline ] || asr-s2s compare runs/compare/baseline/test-beam5.jsonl "$run/test-beam5.jsonl" \
        --reference 'data/test_2016_flickr.{en,de}.gz' --changed 0 --html "$run/compare.html"
done
