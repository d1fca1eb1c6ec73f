#!/bin/sh
# English speech to German and Chinese in one model: from sentence pairs to a comparison with the cascade
# of a recognizer and a translator.
#
#   recipes/speech_translation/run.sh MULTI30K TATOEBA REAL [KEY=VALUE ...]
#
# MULTI30K contains train, val and test_2016_flickr as .en.gz and .de.gz, TATOEBA train, dev and test as
# .en.gz and .zh.gz. REAL contains test.jsonl, recordings of people in English with translations, as the
# README describes. HOURS=40 of the training sentences are spoken by synthesizers; with SPEECH=MANIFEST,
# recordings of them in any other voices are used instead. Run it again to resume.
set -eu
usage="usage: recipes/speech_translation/run.sh MULTI30K TATOEBA REAL [KEY=VALUE ...]"
[ $# -ge 3 ] || { echo "$usage" >&2 && exit 2; }
multi30k=$(realpath "$1")
tatoeba=$(realpath "$2")
real=$(realpath "$3")
shift 3
speech=${SPEECH:+$(realpath "$SPEECH")}
cd "$(dirname "$0")"
PATH=$(realpath ../..)/.venv/bin:$PATH
mkdir -p data runs/results

speak() { # SPLIT [OPTION ...]: FILES of sentences are set before
    split=$1
    shift
    # Word splitting is intended: one argument per file.
    [ -f "data/$split/train.jsonl" ] ||
        python ../english/synthesize.py $files --output "data/$split" "$@"
}
rows() { # OUTPUT SPEECH [OPTION ...]
    output=$1
    shift
    [ -f "data/$output.jsonl" ] ||
        python translation_rows.py "$@" --output "data/$output.jsonl"
}

# Voices that speak the tests, but not in training.
unheard="flite-awb espeak-ng-*+f5 espeak-ng-*+m8 espeak-ng-*+Andy"
set -f
only=$(printf -- '--voice %s ' $unheard)
without=$(printf -- '--without-voice %s ' $unheard)
files=$multi30k/test_2016_flickr.en.gz speak test_multi30k --once $only
files=$tatoeba/test.en.gz speak test_tatoeba --once $only
files="$multi30k/val.en.gz $tatoeba/dev.en.gz" speak valid --hours "${VALID_HOURS:-0.5}" $only
if [ -z "$speech" ]; then
    files="$multi30k/train.en.gz $tatoeba/train.en.gz" speak train --hours "${HOURS:-40}" $without \
        --held-out data/test_multi30k/train.jsonl --held-out data/test_tatoeba/train.jsonl
    speech=data/train/train.jsonl
fi
set +f

rows train "$speech" --pairs "$multi30k/train.{en,de}.gz" --pairs "$tatoeba/train.{en,zh}.gz"
rows valid data/valid/train.jsonl --pairs "$multi30k/val.{en,de}.gz" --pairs "$tatoeba/dev.{en,zh}.gz"
rows multi30k data/test_multi30k/train.jsonl --pairs "$multi30k/test_2016_flickr.{en,de}.gz"
rows tatoeba data/test_tatoeba/train.jsonl --pairs "$tatoeba/test.{en,zh}.gz"
rows real "$real/test.jsonl" --corpus asp --language de --language zh

[ -f runs/translate/last.pt ] || asr-s2s check --config translate.yaml || echo "training goes on" >&2
asr-s2s train translate.yaml "$@"

# Unheard voices, then people: the model alone, and against the cascade.
model=runs/translate/model
for set in multi30k tatoeba real; do
    echo "== $set"
    asr-s2s evaluate data/$set.jsonl --model $model --output runs/results/$set.jsonl --worst 3
    for language in en de zh; do
        grep "\"language\": \"$language\"" data/$set.jsonl >data/$set.$language.jsonl || continue
        grep "\"language\": \"$language\"" runs/results/$set.jsonl >runs/results/$set.$language.jsonl
        echo "== $set, $language: A is the cascade, B this model"
        case $language in
        en)
            asr-s2s evaluate data/$set.en.jsonl --model english --worst 0 \
                --output runs/results/$set.en.cascade.jsonl
            scores="--metric wer --normalizer english"
            ;;
        de) scores="--metric bleu" ;;
        zh) scores="--metric bleu --bleu-tokenizer zh" ;;
        esac
        [ $language = en ] || python cascade.py data/$set.$language.jsonl --translator en-$language \
            --output runs/results/$set.$language.cascade.jsonl
        asr-s2s compare runs/results/$set.$language.cascade.jsonl runs/results/$set.$language.jsonl \
            --reference data/$set.$language.jsonl $scores --changed 3
    done
done
