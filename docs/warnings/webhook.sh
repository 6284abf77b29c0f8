#!/bin/sh
# Posts what devbox-ctl tells of to a chat's webhook. Its address is a secret, and so neither an argument nor in
# users.toml: it is the one line of /etc/credstore/devbox-warn.url (root's, mode 600). Needs jq and curl.
set -eu
url=$(cat "$CREDENTIALS_DIRECTORY/devbox-warn.url")
case $url in https://* | http://127.0.0.1*) ;; *) echo "devbox-warn.url is no https:// address" >&2; exit 1 ;; esac
case $url in *[\"\\]*) echo "devbox-warn.url has a quote in it" >&2; exit 1 ;; esac
# Most chats take {"text": …}. Whatever its owner said of a box stays text: no mention, markup or picture, and no address
# that can be clicked on as it stands.
body=$(jq -ce '{text: ("\(.host): \(.text)" + if .work then "; git work in it that is nowhere else: \(.work)" else "" end | gsub("[\\[\\]()<>&@*_`!#~|]"; " ") | gsub("://"; ":// "))}')
# curl reads its address and what it sends from here: arguments can be seen by everybody.
printf 'url = "%s"\ndata = "%s"\n' "$url" "$(printf '%s' "$body" | sed 's/[\\"]/\\&/g')" |
    curl --config - --silent --show-error --fail --max-time 20 --header 'Content-Type: application/json' --output /dev/null
