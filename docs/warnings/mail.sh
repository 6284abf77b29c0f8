#!/bin/sh
# Mails what devbox-ctl tells of to the box's owner, and to whoever is named: [warnings] command = ["…/mail.sh", "root"].
# Needs jq, curl and a mail server on this host's port 25. It speaks to that and does not call sendmail(8), which is
# set-group-id in Postfix and set-user-id in Exim: devbox-warn@.service gains no privileges.
set -eu
document=$(cat)
field() { printf '%s' "$document" | jq -er "$1"; }
owner=$(field .owner)
# A name is nothing but a name, and nothing of it an option or another address.
case $owner in '' | *[!A-Za-z0-9._-]* | -*) echo "odd owner" >&2; exit 1 ;; esac
set -- "$owner" "$@"
to=$(printf ', %s' "$@")
# What is told is one line each, without control characters: it cannot end a header.
mail=$(
    printf 'From: devbox-ctl <devbox-warn>\nTo: %s\n' "${to#, }"
    printf 'Subject: [%s] %s\n' "$(field .host)" "$(field '.text | .[:200]')"
    printf 'Content-Type: text/plain; charset=utf-8\nAuto-Submitted: auto-generated\n\n'
    field '.text, "when: \(.happensAt)", (.prevent | values | "to prevent it: \(.)"), (.undo | values | "to undo it: \(.)"), (.work | values | "git work in it that is nowhere else: \(.)")'
)
for one; do shift; set -- "$@" --mail-rcpt "$one"; done
printf '%s\n' "$mail" |
    curl --silent --show-error --max-time 20 --crlf --url smtp://127.0.0.1 --mail-from devbox-warn "$@" --upload-file -
