#!/bin/sh
# Installs the Debian packages of a variant. Runs as root in the image build: debian.sh VARIANT
set -eu
variant=$1

names() { sed 's/#.*//' "$@" | tr -s ' \n' ' '; }

lists=/build/packages/debian-default.txt
if [ "$variant" = full ]; then
    lists="$lists /build/packages/debian-full.txt"
fi

# Manuals and translations cost space that no agent reads; licences stay.
cat >/etc/dpkg/dpkg.cfg.d/90-workbench <<'CFG'
path-exclude=/usr/share/man/*
path-exclude=/usr/share/info/*
path-exclude=/usr/share/locale/*
path-exclude=/usr/share/doc/*
path-include=/usr/share/doc/*/copyright
CFG

export APT_CONFIG=/build-env/apt.conf DEBIAN_FRONTEND=noninteractive

echo "==> Debian packages ($variant)"
apt-get update -qq
# shellcheck disable=SC2046,SC2086 # the lists are words on purpose
apt-get install -y -qq --no-install-recommends $(names $lists) ca-certificates >/build/apt.log 2>&1 || {
    tail -n 30 /build/apt.log
    exit 1
}

# Without a terminal vim waits for keys that nobody presses; told so, it ends at once. Its ex mode works as ever.
for name in vi vim view; do
    printf '#!/bin/bash\nexec -a %s vim.tiny --ttyfail "$@"\n' "$name" >"/usr/local/bin/$name"
    chmod 755 "/usr/local/bin/$name"
done
