# Counts, in each git repository below /home/dev, changed files, commits that no remote has, and stashes.
export GIT_OPTIONAL_LOCKS=0 GIT_TERMINAL_PROMPT=0 GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'
export HOME=/tmp LC_ALL=C
command -v git >/dev/null || exit 1
cd /home/dev || exit 1
list=$(mktemp) && find . -xdev -name .git -prune -print0 >"$list" || exit 1
status() {
	timeout 30 git -C "$1" status --porcelain --untracked-files=normal >/tmp/changed 2>/dev/null &&
		timeout 30 git -C "$1" log --format=%h --max-count=1000 HEAD --branches --not --remotes >/tmp/commits 2>/dev/null ||
		# Nothing was ever committed: there is no HEAD yet.
		{ ! git -C "$1" rev-parse --verify --quiet HEAD >/dev/null 2>&1 && git -C "$1" rev-parse --git-dir >/dev/null 2>&1 && : >/tmp/commits; } &&
		timeout 30 git -C "$1" stash list >/tmp/stashes 2>/dev/null
}
lines() { wc -l <"$1" | tr -d ' '; }
while IFS= read -r -d '' found; do
	path=${found%/.git}
	path=${path#./}
	if status "./${path:-.}"; then
		printf '%s %s %s %s\0' "$(lines /tmp/changed)" "$(lines /tmp/commits)" "$(lines /tmp/stashes)" "$path"
	else
		printf -- '- - - %s\0' "$path"
	fi
done <"$list"
printf 'done\0'
