# lit-inpaint on CPUs: docker build -t lit-inpaint . && docker run --rm -v "$PWD:/work" lit-inpaint methods
# Workers of a data loader share memory: add --ipc=host, or pass --data.num_workers 0.
FROM python:3.12-slim

WORKDIR /source
COPY setup.cfg pyproject.toml README.md LICENSE ./
COPY lit_inpaint lit_inpaint
COPY experiments experiments
COPY datamodules datamodules
COPY masks masks
# The newest releases that setup.cfg allows, as pip takes them anywhere.
# hadolint ignore=DL3013
RUN pip install --no-cache-dir torch torchvision --index-url https://download.pytorch.org/whl/cpu \
    && pip install --no-cache-dir '.[app,sweep,metrics,figure]' \
    && rm -rf /source

RUN useradd --create-home --uid 1000 user
USER 1000
WORKDIR /work
ENTRYPOINT ["lit-inpaint"]
CMD ["--help"]
