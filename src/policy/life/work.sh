# Counts, in each git repository below /home/dev, changed files, commits that no remote has, and stashes. Tags are not
# looked at: many a remote has some that are on none of its branches.
export GIT_OPTIONAL_LOCKS=0 GIT_TERMINAL_PROMPT=0 GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'
export HOME=/tmp LC_ALL=C
command -v git >/dev/null || exit 1
cd /home/dev || exit 1
# Into .git too: what is left of a submodule that no branch has any more is below its modules/.
list=$(mktemp) && find . -xdev -name .git -print0 -o -type f -name HEAD ! -path '*/.git/HEAD' -print0 >"$list" || exit 1
quietly() { timeout 30 git "${at[@]}" "$@" 2>/dev/null; }
look() {
	: >/tmp/changed
	: >/tmp/stashes
	head=HEAD
	quietly rev-parse --verify --quiet HEAD >/tmp/head
	case $? in
	0) ;;
	# Nothing is committed where it points, so that there is none to begin at.
	1) head= ;;
	*) return 1 ;;
	esac
	quietly for-each-ref --count=1 refs/heads >/tmp/branches || return 1
	: >/tmp/commits
	if [ -n "$head" ] || [ -s /tmp/branches ]; then
		quietly rev-list --max-count=1000 $head --branches --not --remotes >/tmp/commits || return 1
	fi
	# A bare one has neither.
	[ "$(quietly rev-parse --is-bare-repository)" = true ] && return
	quietly stash list >/tmp/stashes || return 1
	[ -n "$gone" ] || quietly status --porcelain --untracked-files=normal >/tmp/changed || return 1
}
lines() { wc -l <"$1" | tr -d ' '; }
while IFS= read -r -d '' found; do
	gone=
	case $found in
	*/.git/modules/*/HEAD)
		path=${found%/HEAD}
		[ -d "$path/objects" ] && [ -d "$path/refs" ] || continue
		# One whose files are there is found by them.
		tree=$(timeout 30 git config --file "$path/config" core.worktree)
		its=$(timeout 30 git -C "$path/${tree:-.}" rev-parse --absolute-git-dir 2>/dev/null)
		[ -n "$tree" ] && [ "$its" = "$PWD/${path#./}" ] && [ -e "$path/$tree/.git" ] && continue
		gone=1
		;;
	*/HEAD)
		# A bare one; other files are called HEAD too.
		path=${found%/HEAD}
		[ -d "$path/objects" ] && [ -d "$path/refs" ] || continue
		;;
	*) path=${found%/.git} ;;
	esac
	path=${path#./}
	if [ -n "$gone" ]; then at=(--git-dir="./$path" --work-tree=/tmp); else at=(-C "./${path:-.}"); fi
	if look; then
		printf '%s %s %s %s\0' "$(lines /tmp/changed)" "$(lines /tmp/commits)" "$(lines /tmp/stashes)" "$path"
	else
		printf -- '- - - %s\0' "$path"
	fi
done <"$list"
printf 'done\0'
