#!/bin/sh
# launch.sh CGROUP COMMAND...: runs the command in a cgroup of its own, so that all of a host can be ended at once.
set -eu
mkdir -p "$1"
echo $$ >"$1/cgroup.procs"
shift
exec "$@"
