#!/bin/sh
# Installs each peer into a virtual environment of its own, venvs/NAME beside this file.
#
#   benchmarks/peers/install.sh [NAME ...]
#
# TORCH_FROM=/path/to/python shares all packages of that interpreter's environment, torch included,
# instead of installing several GB per peer. It must be the same version of Python.
#
# Only packages that are imported here are installed: the requirements of the peers ask for versions of torch
# and numpy that are not available for current versions of Python.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
python=${TORCH_FROM:-${PYTHON:-python3}}

install() { # NAME PACKAGE ...
    name=$1
    shift
    folder=$here/venvs/$name
    echo "installing $name into $folder" >&2
    [ -d "$folder" ] || "$python" -m venv --without-pip "$folder"
    packages=$("$folder/bin/python" -c 'import site; print(site.getsitepackages()[0])')
    pip="$python -m pip --python $folder/bin/python --disable-pip-version-check install"
    if [ -n "${TORCH_FROM:-}" ]; then
        "$python" -c 'import pathlib, torch; print(pathlib.Path(torch.__file__).parent.parent)' \
            > "$packages/torch_from.pth"
    else
        $pip 'torch>=2.11,<2.13' 'torchaudio==2.11.0' $COMMON
    fi
    $pip --no-deps "$@"
}

# Packages that the peers import besides torch.
COMMON="numpy scipy matplotlib sentencepiece sacrebleu regex tqdm pyyaml packaging tensorboard soundfile
joblib"

if [ $# -eq 0 ]; then set -- speechbrain espnet joeynmt opennmt; fi
for peer in "$@"; do
    case $peer in
    speechbrain)
        install speechbrain speechbrain==1.1.2 hyperpyyaml==1.2.3 ruamel.yaml==0.18.17 \
            ruamel.yaml.clib==0.2.15 huggingface_hub==2.4.0 hf-xet==1.8.0 filelock fsspec
        ;;
    espnet) install espnet espnet==202511 typeguard==2.13.3 humanfriendly==10.0 ;;
    joeynmt)
        install joeynmt joeynmt==2.3.0 subword-nmt==0.3.8 importlib_metadata==8.5.0 \
            zipp==3.21.0 plotly==7.1.0 narwhals
        ;;
    opennmt) install opennmt opennmt-py==3.5.1 pyonmttok==1.37.1 configargparse==1.9.0 ;;
    *)
        echo "unknown peer $peer; expected speechbrain, espnet, joeynmt or opennmt" >&2
        exit 2
        ;;
    esac
done
