#!/bin/sh
# /usr/local/bin/waggle: every command as the user of the node, in its folder, with the password of its keys.
# Files that a command writes belong to the node then, and the node can go on with them. Needs root: sudo waggle ...
set -eu
user=waggle
home=/var/lib/waggle
program=/opt/waggle/bin/waggle
clear=/etc/credstore/waggle
sealed=/etc/credstore.encrypted/waggle

if [ "$(id -u)" -ne 0 ]; then
    echo "waggle: run it as root, as in: sudo waggle $*" >&2
    exit 2
fi
cd "$home"
umask 077
secrets=$(mktemp -d /run/waggle-cli.XXXXXXXX)
trap 'rm -rf "$secrets"' EXIT
trap 'exit 130' INT TERM HUP
if [ -f "$sealed" ]; then
    systemd-creds decrypt --name=waggle "$sealed" "$secrets/waggle"
elif [ -f "$clear" ]; then
    cp "$clear" "$secrets/waggle"
fi
chown -R "$user:$user" "$secrets"
status=0
CREDENTIALS_DIRECTORY=$secrets HOME=$home \
    setpriv --reuid="$user" --regid="$user" --init-groups --no-new-privs "$program" "$@" || status=$?
exit "$status"
