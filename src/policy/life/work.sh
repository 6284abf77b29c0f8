# Counts, in each git repository below /home/dev, changed files, commits that no remote has, and stashes. Tags are not
# looked at: many a remote has some that are on none of its branches.
export GIT_OPTIONAL_LOCKS=0 GIT_TERMINAL_PROMPT=0 GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'
export HOME=/tmp LC_ALL=C
command -v git >/dev/null || exit 1
cd /home/dev || exit 1
list=$(mktemp) && find . -xdev -name .git -prune -print0 -o -type f -name HEAD -print0 >"$list" || exit 1
quietly() { timeout 30 git -C "$1" "${@:2}" 2>/dev/null; }
look() {
	: >/tmp/changed
	: >/tmp/stashes
	# Where nothing was ever committed there is none to begin at.
	head=HEAD
	quietly "$1" rev-parse --verify --quiet HEAD >/tmp/head || head=
	quietly "$1" for-each-ref --count=1 refs/heads >/tmp/branches || return 1
	: >/tmp/commits
	if [ -n "$head" ] || [ -s /tmp/branches ]; then
		quietly "$1" rev-list --max-count=1000 $head --branches --not --remotes >/tmp/commits || return 1
	fi
	# A bare one has neither.
	[ "$(quietly "$1" rev-parse --is-bare-repository)" = true ] && return
	quietly "$1" status --porcelain --untracked-files=normal >/tmp/changed || return 1
	[ -z "$head" ] || quietly "$1" stash list >/tmp/stashes
}
lines() { wc -l <"$1" | tr -d ' '; }
while IFS= read -r -d '' found; do
	case $found in
	*/HEAD)
		# A bare one; other files are called HEAD too.
		path=${found%/HEAD}
		[ -d "$path/objects" ] && [ -d "$path/refs" ] || continue
		;;
	*) path=${found%/.git} ;;
	esac
	path=${path#./}
	if look "./${path:-.}"; then
		printf '%s %s %s %s\0' "$(lines /tmp/changed)" "$(lines /tmp/commits)" "$(lines /tmp/stashes)" "$path"
	else
		printf -- '- - - %s\0' "$path"
	fi
done <"$list"
printf 'done\0'
