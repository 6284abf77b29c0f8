#!/bin/sh
# Mails what devbox-ctl tells of to the box's owner, and to whoever is named: [warnings] command = ["…/mail.sh", "root"].
# Needs jq and a sendmail(8); docs/idle.md says what a sendmail needs that is set-group-id.
set -eu
document=$(cat)
field() { printf '%s' "$document" | jq -er "$1"; }
owner=$(field .owner)
# A name is nothing but a name, and nothing of it an option or another address.
case $owner in '' | *[!A-Za-z0-9._-]* | -*) echo "odd owner" >&2; exit 1 ;; esac
# What is told is one line each, without control characters: it cannot end a header.
{
    printf 'To: %s\n' "$owner"
    [ $# -eq 0 ] || printf 'Cc: %s\n' "$1"
    printf 'Subject: [%s] %s\n' "$(field .host)" "$(field '.text | .[:200]')"
    printf 'Content-Type: text/plain; charset=utf-8\nAuto-Submitted: auto-generated\n\n'
    field '.text, "when: \(.happensAt)", (.prevent | values | "to prevent it: \(.)"), (.undo | values | "to undo it: \(.)"), (.work | values | "git work in it that is nowhere else: \(.)")'
} | sendmail -i -t
