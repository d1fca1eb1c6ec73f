#!/bin/sh
# English from any recording: from corpora of speech and text to a recognizer with a language model.
#
#   recipes/english/run.sh CORPUS NOISE ROOMS DICTIONARY G2P TEACHER TEXT ...
#
# CORPUS contains train.jsonl and dev.jsonl as prepare.py describes, NOISE recordings of noise, ROOMS
# room impulse responses, DICTIONARY pronunciations as .tsv.gz (recipes/g2p_cmudict describes them), G2P
# is the model that recipes/g2p_cmudict trains, TEACHER a Whisper model in CTranslate2 form, TEXT are .gz
# and .xz files of English, one sentence per line. Trains with one process per GPU, or else per core.
# Run it again to resume. Ends with the word error rate of each development set.
set -eu
usage="usage: recipes/english/run.sh CORPUS NOISE ROOMS DICTIONARY G2P TEACHER TEXT ..."
[ $# -ge 7 ] || { echo "$usage" >&2 && exit 2; }
corpus=$(realpath "$1")
noise=$(realpath "$2")
rooms=$(realpath "$3")
dictionary=$(realpath "$4")
g2p=$(realpath "$5")
teacher=$(realpath "$6")
shift 6
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

# Transcripts of MInDS-14 are machine-made: keep those that the teacher confirms.
mkdir -p data
[ -f data/minds14.jsonl ] || python verify.py "$corpus/train.jsonl" --corpus minds14 \
    --teacher "$teacher" --output data/minds14.jsonl --tolerance 15
python prepare.py "$corpus" data --leave-out minds14 --add data/minds14.jsonl
asr-s2s teach data/train.jsonl --teacher "$teacher" --output data/teacher
[ -f data/silence/train.jsonl ] ||
    python silence.py --voices data/train.jsonl --hours 0.5 --output data/silence

[ -f data/text.gz ] || for text in $texts; do
    case $text in *.xz) xzcat "$text" ;; *) zcat "$text" ;; esac
done | awk 'NR % 500 { print; next } { print >"data/valid.txt" }' | gzip >data/text.gz
# Word splitting is intended: one --text option per file.
[ -f data/lexicon.txt ] || python pronounce.py "$dictionary"/*.tsv.gz --g2p "$g2p" \
    $(printf -- '--text %s ' $texts) --manifest data/train.jsonl --output data/lexicon.txt

# Clean speech without masks, until CTC and attention have learned to align.
train clean english.yaml 'data.train=[data/clean.jsonl]' data.batch_seconds=40 distill.weight=0 \
    augment.vocal_tract_range=0 augment.noise_probability=0.1 augment.frequency_masks=0 \
    augment.time_masks=0 augment.room_probability=0 augment.telephone_probability=0 \
    speech_encoder.dropout=0.1 train.schedule=constant train.learning_rate=1e-3 \
    train.average_every=8 train.steps=1000 train.validate_every=1000
# Then everything, and the teacher.
train english english.yaml train.initialize=runs/clean/model \
    augment.noise_folder="$noise" augment.room_folder="$rooms"
model=runs/english/model
# Transcripts are few, but match the domain.
asr-s2s ngram data/text.gz --domain data/transcripts.txt --model $model \
    --held-out "$corpus/dev.jsonl" --words 150000 --order 4 --prune 0,1,1,2 \
    --output runs/ngram.safetensors
asr-s2s attach runs/ngram.safetensors --model $model --weight 0.6
asr-s2s tune data/valid.jsonl --model $model
asr-s2s calibrate data/dev_*.jsonl --model $model
for dev in data/dev_*.jsonl; do asr-s2s evaluate "$dev" --model $model; done
