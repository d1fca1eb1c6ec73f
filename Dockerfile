# asr_s2s in a container:
#
#   docker build -t asr_s2s .
#   docker run --rm -v "$PWD:/data" asr_s2s transcribe talk.mp3
#
# Build arguments:
#   BASE         an image of Debian or Ubuntu with Python 3.11 or later, or where apt-get installs
#                it. An image of CUDA is wanted only where other programs in it need CUDA: PyTorch's
#                wheels bring their own, so that the host's driver and --gpus all are enough.
#   TORCH_INDEX  where torch and torchaudio are taken from, both from the same place. By default
#                pip's own index, whose wheels have CUDA and run on CPUs too; PyTorch's index of
#                CPU wheels leaves CUDA out.
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
# pyproject.toml says why these releases; asr_s2s itself is the last to come, as it changes most.
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
# Caches go to HOME; USER is named for programs that ask for it, as no user 1000 need exist.
ENV PATH=/opt/asr_s2s/bin:$PATH HOME=/tmp USER=asr_s2s PYTHONUNBUFFERED=1
USER 1000:1000
WORKDIR /data
EXPOSE 8000
ENTRYPOINT ["asr-s2s"]
CMD ["--help"]
