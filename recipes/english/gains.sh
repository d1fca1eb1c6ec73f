#!/bin/sh
# Ablation: short trainings with augmentation and a teacher added in turn, then the search of MODEL with more scorers
# each. MODEL is the shipped `english` by default; runs/english/model, made by run.sh, is another.
#
#   recipes/english/gains.sh NOISE ROOMS STEPS [MODEL]
#
# Requires the data and the first training stage of run.sh; NOISE and ROOMS are as there. Run it again to resume.
set -eu
usage="usage: recipes/english/gains.sh NOISE ROOMS STEPS [MODEL]"
[ $# -eq 3 ] || [ $# -eq 4 ] || { echo "$usage" >&2 && exit 2; }
noise=$(realpath "$1")
rooms=$(realpath "$2")
steps=$3
model=${4:-english}
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

recorded="augment.noise_folder=$noise augment.room_folder=$rooms"
# Unquoted: word splitting gives one setting per word.
train real distill.weight=0 augment.speeds=[1.0] augment.gain_db=0 augment.vocal_tract_range=0 \
    augment.noise_probability=0 augment.room_probability=0 augment.telephone_probability=0 \
    augment.frequency_masks=0 augment.time_masks=0
train augmented distill.weight=0 $recorded
train taught $recorded
python ../../benchmarks/gains.py data/dev_librispeech.jsonl data/dev_commonvoice.jsonl \
    --model "$model" --trained "real speech=runs/real/model" \
    "+ augmentation=runs/augmented/model" "+ teacher=runs/taught/model"
