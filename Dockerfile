# FreRec in a container: every workflow as `frerec <command>`, without root and without a network.
# docs/how-to/run_in_a_container.md has the commands.
ARG BASE=python:3.12-slim

FROM ${BASE} AS build
# Which build of PyTorch: for a GPU https://download.pytorch.org/whl/cu130, or what pytorch.org names for your driver.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PATH=/opt/frerec/bin:$PATH
WORKDIR /src
RUN python3 -m venv /opt/frerec
# By far the largest package and the slowest to change comes first, to be kept by the builder.
COPY constraints.txt ./
RUN pip install --index-url "${TORCH_INDEX}" "torch==$(sed -n 's/^torch==//p' constraints.txt)"
COPY LICENSE MANIFEST.in README.md pyproject.toml setup.py ./
COPY docs/reference/config_ids.md docs/reference/
COPY models models
COPY configs configs
COPY bundle bundle
RUN pip install -c constraints.txt .

FROM ${BASE}
COPY --from=build /opt/frerec /opt/frerec
RUN useradd --uid 1000 --create-home frerec
# Any other user will do as well (`--user`): MONAI asks for a name, and libraries for a place for their caches.
ENV PATH=/opt/frerec/bin:$PATH USER=frerec HOME=/tmp MPLCONFIGDIR=/tmp/matplotlib PYTHONUNBUFFERED=1
USER 1000
WORKDIR /work
ENTRYPOINT ["frerec"]
CMD ["--help"]
