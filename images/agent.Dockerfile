# The sandbox image: the packages image and, as the last small layers, the agent.
ARG PACKAGES
FROM ${PACKAGES}
# One file instead of thirteen to open: a sixth of what the start of bash takes.
RUN localedef --add-to-archive /usr/lib/locale/C.utf8
COPY app/ /opt/workbench/app/
COPY helpers/ /opt/workbench/helpers/
# Nobody but root may write there, so compiled files never need to be checked against their sources. Agent and user
# have the same Python, so what one compiles the other can use.
RUN chmod 755 /opt/workbench/helpers/bin/* \
    && /opt/workbench/venv/bin/python -I -m compileall -q --invalidation-mode unchecked-hash \
        /opt/workbench/app /opt/workbench/helpers
USER 1000:1000
WORKDIR /home/user
STOPSIGNAL SIGKILL
ENTRYPOINT ["/opt/workbench/venv/bin/python", "-I", "-m", "sandbox.agent"]
