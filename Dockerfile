# `make release` first writes the wheel into dist/. Then, for a processor, or for a GPU of NVIDIA:
#
#     docker build -t sketchless .
#     docker build -t sketchless --build-arg BASE=pytorch/pytorch:2.8.0-cuda12.8-cudnn9-runtime --build-arg INDEX=https://pypi.org/simple .
#     docker run --rm -v "$PWD/runs:/data/runs" sketchless train
ARG BASE=python:3.13-slim
FROM ${BASE}
# where PyTorch comes from, unless the base image has it
ARG INDEX=https://download.pytorch.org/whl/cpu
COPY dist/*.whl /opt/dist/
RUN python3 -m pip install --no-cache-dir --extra-index-url "$INDEX" /opt/dist/*.whl
RUN sketchless --version
WORKDIR /data
ENTRYPOINT ["sketchless"]
CMD ["--help"]
