#!/bin/sh
# Ablation: short trainings with more data and augmentation each, then the search of MODEL with more scorers
# each. MODEL is the shipped `english` by default; runs/english/model, made by run.sh, also has an LSTM language model.
#
#   recipes/english/gains.sh STEPS [MODEL]
#
# Requires the data and the first training stage of run.sh. Run it again to resume.
set -eu
usage="usage: recipes/english/gains.sh STEPS [MODEL]"
[ $# -eq 1 ] || [ $# -eq 2 ] || { echo "$usage" >&2 && exit 2; }
steps=$1
model=${2:-english}
cd "$(dirname "$0")"
PATH=$(realpath ../..)/.venv/bin:$PATH
processes=$(nvidia-smi --list-gpus 2>/dev/null | wc -l)
[ "$processes" -gt 0 ] || processes=$(nproc)

train() { # NAME [KEY=VALUE ...]
    name=$1
    shift
    [ -d "runs/$name/model" ] || torchrun --standalone --nproc-per-node "$processes" -m asr_s2s \
        train english.yaml train.initialize=runs/clean/model "train.steps=$steps" "$@" -o "runs/$name"
}

nothing='augment.speeds=[1.0] augment.gain_db=0 augment.vocal_tract_range=0
    augment.noise_probability=0 augment.frequency_masks=0 augment.time_masks=0'
# Unquoted: word splitting gives one setting per word.
train real 'data.train=[data/train.jsonl,data/sentences.jsonl,data/sentences.jsonl]' $nothing
train synthetic $nothing
train augmented
python ../../benchmarks/gains.py data/dev_librispeech.jsonl data/dev_commonvoice.jsonl \
    --model "$model" --trained "real speech=runs/real/model" \
    "+ synthetic speech=runs/synthetic/model" "+ augmentation=runs/augmented/model"
