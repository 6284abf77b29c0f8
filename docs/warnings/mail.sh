#!/bin/sh
# Mails what devbox-ctl tells of to the box's owner, and to whoever is named: [warnings] command = ["…/mail.sh", "root"].
# A name without a domain is of this host, or of the first argument: "@example.com". Needs jq, curl and a mail server on
# this host's port 25. It speaks to that and does not call sendmail(8), which is set-group-id in Postfix and set-user-id
# in Exim: devbox-warn@.service gains no privileges.
set -eu
document=$(cat)
field() { printf '%s' "$document" | jq -er "$1"; }
domain=@localhost
case ${1-} in @*) domain=$1; shift ;; esac
owner=$(field .owner)
# A name is nothing but a name, and nothing of it an option or another address.
case $owner in
'' | *[!A-Za-z0-9._-]* | -*) echo "odd owner" >&2; [ $# -gt 0 ] || exit 1 ;;
*) set -- "$owner" "$@" ;;
esac
for one; do
    case $one in *@*) ;; *) one=$one$domain ;; esac
    shift; set -- "$@" "$one"
done
to=$(printf ', %s' "$@")
# What is told is one line each, without control characters: it cannot end a header. Servers take lines of 998 bytes.
mail=$(
    printf 'From: devbox-ctl <devbox-warn%s>\nTo: %s\n' "$domain" "${to#, }"
    printf 'Subject: [%s] %s\n' "$(field .host)" "$(field '.text | .[:200] | gsub("[^ -~]"; "?")')"
    printf 'MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n'
    printf 'Auto-Submitted: auto-generated\n\n'
    field '.text, "when: \(.happensAt)", (.prevent | values | "to prevent it: \(.)"), (.undo | values | "to undo it: \(.)"), (.work | values | "git work in it that is nowhere else: \(.)")' | fold -s -w 900
)
for one; do shift; set -- "$@" --mail-rcpt "$one"; done
# Whom the server does not know keeps it from nobody else.
printf '%s\n' "$mail" |
    curl --silent --show-error --max-time 20 --crlf --url smtp://127.0.0.1 --mail-rcpt-allowfails \
        --mail-from "devbox-warn$domain" "$@" --upload-file -
