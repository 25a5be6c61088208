# docker build -t xai .                                                  # CPU
# docker build -t xai:cuda --build-arg TORCH=https://download.pytorch.org/whl/cu128 .
# docker run --rm -v "$PWD":/data xai explain face.png --out maps
# docker run --rm --gpus all -v "$PWD":/data xai:cuda explain face.png --device cuda --out maps
FROM python:3.12-slim-bookworm

# where torch comes from: the pages of its CPU build, or one for a CUDA version (the wheels bring CUDA with them)
ARG TORCH=https://download.pytorch.org/whl/cpu
ARG EXTRAS=bench,video,models

# a font for labels in any script of the pictures
RUN apt-get update \
    && apt-get install --yes --no-install-recommends fonts-noto-cjk=1:* \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /src
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY xai ./xai
RUN pip install --no-cache-dir --constraint constraints.txt --find-links "$TORCH/torch/" torch \
    && pip install --no-cache-dir --constraint constraints.txt ".[$EXTRAS]"

# not root; what is written into a mounted folder belongs to whoever says --user
RUN useradd --create-home --uid 1000 explainer
USER 1000
WORKDIR /data
ENTRYPOINT ["xai"]
CMD ["--help"]
