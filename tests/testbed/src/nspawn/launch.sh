#!/bin/sh
# launch.sh CGROUP COMMAND...: runs the command in a cgroup of its own, so that all of a host can be ended at once.
set -eu
# Another host that ends removes the parent directory when it finds it empty, perhaps between the two steps of this.
mkdir -p "$1" || mkdir -p "$1" || mkdir -p "$1"
echo $$ >"$1/cgroup.procs"
shift
exec "$@"
