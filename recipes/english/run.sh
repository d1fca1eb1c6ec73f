#!/bin/sh
# English from any recording: from corpora of speech and text to a recogniser with language models.
#
#   recipes/english/run.sh CORPUS_FOLDER HOURS TEXT ...
#
# CORPUS_FOLDER holds train.jsonl and dev.jsonl as prepare.py says; TEXT are .gz and .xz files of
# English, a sentence a line, which are spoken and which the language models are made of; HOURS of
# synthetic speech are made. Trains with as many processes as there are GPUs, or else cores. Run it
# again to resume. Ends with the word error rate of each development set.
set -eu
usage="usage: recipes/english/run.sh CORPUS_FOLDER HOURS TEXT ..."
[ $# -ge 3 ] || { echo "$usage" >&2 && exit 2; }
corpus=$(realpath "$1")
hours=$2
shift 2
texts=$(realpath "$@")
cd "$(dirname "$0")"
PATH=$(realpath ../..)/.venv/bin:$PATH
processes=$(nvidia-smi --list-gpus 2>/dev/null | wc -l)
[ "$processes" -gt 0 ] || processes=$(nproc)

train() { # STAGE CONFIGURATION [KEY=VALUE ...]
    stage=$1
    shift
    [ -d "runs/$stage/model" ] ||
        torchrun --standalone --nproc-per-node "$processes" -m asr_s2s train "$@" -o "runs/$stage"
}

python prepare.py "$corpus" data
# Word splitting is wanted: one name a text.
python synthesize.py $texts --hours "$hours" --held-out "$corpus/dev.jsonl" --output data/synthetic
awk 'NR % 3 == 0' data/synthetic/train.jsonl >data/synthetic/few.jsonl
[ -f data/silence/train.jsonl ] ||
    python silence.py --voices data/train.jsonl --hours 2 --output data/silence

[ -f data/text.gz ] || for text in $texts; do
    case $text in *.xz) xzcat "$text" ;; *) zcat "$text" ;; esac
done | awk 'NR % 500 { print; next } { print >"data/valid.txt" }' | gzip >data/text.gz

# Clean speech in small batches, nothing changed, until CTC and attention have found where letters are:
# on all data at once this takes many times as long.
train clean english.yaml 'data.train=[data/clean.jsonl]' data.batch_seconds=30 'augment.speeds=[1.0]' \
    augment.noise_probability=0.1 augment.frequency_masks=0 augment.time_masks=0 \
    objective.ctc_weight=0.5 train.steps=800 train.validate_every=800
# Everything, at a constant learning rate.
train english english.yaml train.initialize=runs/clean/model
# Mostly real speech, at a learning rate that falls to nothing.
train real english.yaml train.initialize=runs/english/model train.schedule=cosine \
    train.warmup_steps=0 train.steps=4000 train.validate_every=500 \
    'data.train=[data/train.jsonl,data/train.jsonl,data/synthetic/few.jsonl,data/silence/train.jsonl]'
train language_model language_model.yaml
model=runs/real/model
asr-s2s ngram data/text.gz --model $model --held-out "$corpus/dev.jsonl" \
    --words 60000 --order 3 --prune 0,1,1 --output runs/ngram.safetensors
asr-s2s attach runs/ngram.safetensors --model $model
asr-s2s attach runs/language_model/model --model $model
asr-s2s tune data/valid.jsonl --model $model
asr-s2s calibrate data/dev_*.jsonl --model $model
for dev in data/dev_*.jsonl; do asr-s2s evaluate "$dev" --model $model; done
