#!/bin/sh
# English from any recording: from corpora of speech and text to a recognizer with language models.
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
[ -f data/silence/train.jsonl ] ||
    python silence.py --voices data/train.jsonl --hours 0.5 --output data/silence

[ -f data/text.gz ] || for text in $texts; do
    case $text in *.xz) xzcat "$text" ;; *) zcat "$text" ;; esac
done | awk 'NR % 500 { print; next } { print >"data/valid.txt" }' | gzip >data/text.gz

[ -f data/lexicon.txt ] ||
    python pronounce.py $texts --manifest data/train.jsonl --output data/lexicon.txt
# Clean speech, nothing masked, until CTC and attention have found where phonemes are.
train clean english.yaml 'data.train=[data/clean.jsonl]' data.batch_seconds=32 \
    augment.vocal_tract_range=0 augment.noise_probability=0.1 augment.frequency_masks=0 \
    augment.time_masks=0 speech_encoder.dropout=0.1 train.schedule=constant \
    train.learning_rate=1e-3 train.average_every=8 train.steps=1000 train.validate_every=1000
# Then everything, at first with little augmentation: that learns faster.
train first english.yaml train.initialize=runs/clean/model \
    augment.vocal_tract_range=0 augment.noise_probability=0.2 augment.frequency_masks=1 \
    augment.time_masks=1 speech_encoder.dropout=0.1 train.learning_rate=1e-3 \
    train.warmup_steps=100 train.steps=8600
train english english.yaml train.initialize=runs/first/model
train language_model language_model.yaml
model=runs/english/model
# Transcripts are few, but of the kind that is said.
asr-s2s ngram data/text.gz --domain data/transcripts.txt --model $model \
    --held-out "$corpus/dev.jsonl" --words 60000 --order 4 --prune 0,1,1,2 \
    --output runs/ngram.safetensors
asr-s2s attach runs/ngram.safetensors --model $model --weight 0.6
asr-s2s attach runs/language_model/model --model $model
asr-s2s tune data/valid.jsonl --model $model
asr-s2s calibrate data/dev_*.jsonl --model $model
for dev in data/dev_*.jsonl; do asr-s2s evaluate "$dev" --model $model; done
