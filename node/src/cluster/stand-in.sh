#!/bin/sh
# Stands in for the program in tests of the cluster: says what a node says, and ends as a node ends.
# FAILING names a node that fails; PIDS is a file that gets the process ids.
for argument in "$@"; do
  case "$argument" in
    --id=*) id=${argument#*=} ;;
    --port=*) port=${argument#*=} ;;
    --api-port=*) api=${argument#*=} ;;
    --admin-addr=*) admin=${argument#*=} ;;
    --bootstrap=*) peers=${argument#*=} ;;
  esac
done
[ -n "$PIDS" ] && echo $$ >> "$PIDS"
[ "$id" = "$FAILING" ] && { echo "broken" >&2; exit 9; }
trap 'echo ended >&2; exit 0' TERM
echo "start $*" >&2
printf '{"ready":true,"node":"%s","api":"127.0.0.1:%s","admin":"%s","p2p":["%s","%s"],"pid":%s}\n' \
  "$id" "$api" "$admin" "$port" "$peers" $$
while :; do sleep 0.05; done
