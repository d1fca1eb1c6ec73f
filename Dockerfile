# asr_s2s in a container:
#
#   docker build -t asr_s2s .
#   docker run --rm -v "$PWD:/data" asr_s2s transcribe talk.mp3
#
# Build arguments:
#   BASE         a Debian or Ubuntu image that has Python 3.11 or later, or can install it with
#                apt-get. A CUDA image is needed only for other programs in it that use CUDA:
#                PyTorch's wheels contain CUDA, so the host's driver and --gpus all suffice.
#   TORCH_INDEX  package index for both torch and torchaudio. Default: pip's index, whose wheels
#                contain CUDA and also run on CPUs. PyTorch's index of CPU wheels omits CUDA.
ARG BASE=python:3.11-slim

# hadolint ignore=DL3006
FROM ${BASE} AS python
# hadolint ignore=DL3008
RUN command -v python3 > /dev/null || { \
        apt-get update \
        && apt-get install -y --no-install-recommends python3 python3-venv \
        && rm -rf /var/lib/apt/lists/*; }

FROM python AS build
ARG TORCH_INDEX=
RUN python3 -m venv /opt/asr_s2s
ENV PATH=/opt/asr_s2s/bin:$PATH
# pyproject.toml explains these versions. asr_s2s is installed last, as it changes most often.
# hadolint ignore=DL3013
RUN pip install --no-cache-dir ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} \
        "torch>=2.11,<2.13" "torchaudio==2.11.0"
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY asr_s2s asr_s2s
# hadolint ignore=DL3013
RUN pip install --no-cache-dir ".[serve,vad,explain]"

FROM python
COPY --from=build /opt/asr_s2s /opt/asr_s2s
# Caches go to HOME. USER is set because user 1000 need not exist in the image.
ENV PATH=/opt/asr_s2s/bin:$PATH HOME=/tmp USER=asr_s2s PYTHONUNBUFFERED=1
USER 1000:1000
WORKDIR /data
EXPOSE 8000
ENTRYPOINT ["asr-s2s"]
CMD ["--help"]
