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

train() {
    [ -d "runs/$1/model" ] ||
        torchrun --standalone --nproc-per-node "$processes" -m asr_s2s train "$1.yaml"
}

python prepare.py "$corpus" data
# Word splitting is wanted: one name a text.
python synthesize.py $texts --hours "$hours" --held-out "$corpus/dev.jsonl" --output data/synthetic
awk 'NR % 8 == 0' data/synthetic/train.jsonl >data/synthetic/few.jsonl
[ -f data/silence/train.jsonl ] ||
    python silence.py --voices data/train.jsonl --hours 2 --output data/silence

[ -f data/text.gz ] || for text in $texts; do
    case $text in *.xz) xzcat "$text" ;; *) zcat "$text" ;; esac
done | awk 'NR % 500 { print; next } { print >"data/valid.txt" }' | gzip >data/text.gz

for stage in clean english real language_model; do train $stage; done
model=runs/real/model
asr-s2s ngram data/text.gz --model $model --held-out "$corpus/dev.jsonl" \
    --words 60000 --order 3 --prune 0,1,1 --output runs/ngram.safetensors
asr-s2s attach runs/ngram.safetensors --model $model
asr-s2s attach runs/language_model/model --model $model
asr-s2s tune data/valid.jsonl --model $model
asr-s2s calibrate data/dev_*.jsonl --model $model
for dev in data/dev_*.jsonl; do asr-s2s evaluate "$dev" --model $model; done
