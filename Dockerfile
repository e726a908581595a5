# The controller's image: docker build -t workbench .
# Behind a company's own certificate authority, put its bundle beside this file as ca.pem; it stays in the
# first stage. Any base with Python 3.11 and venv will do: --build-arg BASE=...
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ca.pe[m] ./
COPY sandbox/ sandbox/
COPY images/ images/
COPY helpers/ helpers/
RUN if [ -f ca.pem ]; then export PIP_CERT=/src/ca.pem; fi \
    && export PIP_CONSTRAINT=/src/constraints.txt PIP_BUILD_CONSTRAINT=/src/constraints.txt \
    && python3 -m venv /opt/workbench \
    && /opt/workbench/bin/pip install -qq --no-cache-dir '.[postgres,kubernetes]'

FROM ${BASE}
COPY --from=build /opt/workbench /opt/workbench
RUN useradd --system --uid 10001 --create-home workbench \
    && install -d -o workbench -m 0700 /var/lib/workbench
ENV PATH=/opt/workbench/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1 \
    WORKBENCH_DATA_DIR=/var/lib/workbench
USER 10001
VOLUME /var/lib/workbench
EXPOSE 8380
# The service listens on loopback unless told otherwise: give WORKBENCH_HOST=0.0.0.0 and WORKBENCH_API_KEYS.
ENTRYPOINT ["workbench"]
CMD ["serve"]
