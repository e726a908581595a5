#!/bin/sh
# Makes the two virtual environments and the user. Runs as root in the image build: python.sh VARIANT
set -eu
variant=$1
agent=/opt/workbench/venv
user=/home/user/.venv
export PIP_CONFIG_FILE=/build-env/pip.conf PIP_CERT=/build-env/ca.pem PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_CONSTRAINT=/build/constraints.txt

echo "==> the agent's virtual environment"
mkdir -p /opt/workbench/app
python3 -m venv --without-pip "$agent"
python3 -m venv "$user"
# The user's pip installs for the agent, so the agent's environment needs none of its own.
"$user/bin/pip" --python "$agent/bin/python" install -qq --no-compile --only-binary :all: \
    -r /build/packages/python-agent.txt
echo /opt/workbench/app >"$("$agent/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/workbench.pth"
"$agent/bin/python" -I -m compileall -q -j 0 --invalidation-mode unchecked-hash "$agent/lib"

echo "==> the user's virtual environment ($variant)"
lists="-r /build/packages/python-default.txt"
if [ "$variant" = full ]; then
    lists="$lists -r /build/packages/python-full.txt"
fi
# shellcheck disable=SC2086 # a list of options
"$user/bin/pip" install -qq --no-compile $lists
# The kernel imports the debugger when it is there: 8 MB and 40 ms a kernel for what no client can reach.
rm -rf "$user"/lib/python3*/site-packages/debugpy
"$user/bin/python" -I -m compileall -q -j 0 "$user/lib" || echo "==> some files of some packages do not compile; they are left as they are"

echo "==> the user"
groupadd --gid 1000 user
useradd --uid 1000 --gid 1000 --no-create-home --home-dir /home/user --shell /bin/bash user
install -d -o user -g user -m 0755 /mnt/files
install -d -o user -g user -m 0700 /run/workbench
chown -R user:user /home/user
# The first plot would otherwise search for fonts for seconds.
HOME=/home/user setpriv --reuid 1000 --regid 1000 --clear-groups \
    "$user/bin/python" -c 'import matplotlib.font_manager'
