#!/usr/bin/env bash
# Proves the stack on this machine, in about ten minutes: docker/smoke.sh
#
# Builds the image, runs a tiny sweep, looks at what is reachable and what is refused, kills a
# worker in mid-sweep, takes everything down in mid-sweep and brings it up again. Works beside a
# running stack: project, volumes, store and port are its own, and removed at the end.
#
#   COMPOSE     docker compose or podman-compose; by default the one that works here
#   BUILD       0: take the image as it is
#   BUILD_ARGS  further arguments of the build
#   KEEP        1: leave everything running at the end
# shellcheck disable=SC2016,SC2329  # commands for containers; functions that check() calls
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

if [[ -z ${COMPOSE:-} ]]; then
  COMPOSE=podman-compose
  docker info >/dev/null 2>&1 && docker compose version >/dev/null 2>&1 && COMPOSE="docker compose"
fi
engine=docker
[[ $COMPOSE == *podman* ]] && engine=podman
read -ra compose <<<"$COMPOSE"
compose+=(--file compose.yaml --project-name spikeproof-smoke)

work=$(mktemp -d)
log=$work/log
chmod 755 "$work"
export STORE=$work/runs DATA=$work/data MLFLOW_PORT=${MLFLOW_PORT:-5055} WORKER_CPUS=1 IMAGE=${IMAGE:-spikeproof:latest}
url=http://127.0.0.1:$MLFLOW_PORT
failed=0

say() { printf '%4d s  %s\n' "$SECONDS" "$*"; }

# check TEXT COMMAND...: one line of the result.
check() {
  local text=$1
  shift
  if "$@" >>"$log" 2>&1; then say "ok      $text"; else
    say "FAILED  $text"
    failed=1
  fi
}
refused() { ! "$@"; }

containers() { # of a service, or of all
  "$engine" ps --all --quiet --filter label=com.docker.compose.project=spikeproof-smoke \
    ${1:+--filter label=com.docker.compose.service="$1"}
}
container() { containers "$1" | head -n 1; }
within() { # SERVICE COMMAND...
  local service=$1
  shift
  "$engine" exec "$(container "$service")" "$@"
}
sweep_log() { "$engine" logs "$(container sweep)" 2>&1; }
up() { "${compose[@]}" up --detach --scale ray-worker=2 >>"$log" 2>&1; }
# The sweep first, as Docker does by itself: it says good-bye to the others.
down() {
  {
    "$engine" stop --time 60 "$(container sweep)"
    # podman-compose forgets all but the first of several.
    containers sweep | xargs -r "$engine" rm --force
    containers ray-worker | xargs -r "$engine" rm --force
    "${compose[@]}" down "$@"
  } >>"$log" 2>&1
}

state() { "$engine" inspect --format "{{.State.$2}}" "$1"; }
sweep_ends() { # with exit code 0, within ten minutes
  local id limit=$((SECONDS + 600))
  id=$(container sweep)
  until [[ $(state "$id" Status) == exited ]]; do
    ((SECONDS < limit)) || return 1
    sleep 1
  done
  sweep_log
  [[ $(state "$id" ExitCode) == 0 ]]
}
sweep_says() { # TEXT, within five minutes
  local limit=$((SECONDS + 300))
  until sweep_log | grep -c -- "$1"; do
    ((SECONDS < limit)) && [[ $(state "$(container sweep)" Status) != exited ]] || return 1
    sleep 0.5
  done
}
sweep_stops() {
  "$engine" stop --time 60 "$(container sweep)"
  sweep_says "interrupted; nothing finished is lost"
}
start() { # the sweep NAME, of EPOCHS
  export SWEEP_ARGS="--name $1 --trials 2 --set training.epochs=$2 --set evaluation.num_samples=40
    --set report.num_samples=40 --set report.suite=quick --set report.audit=null"
  up
}

finish() {
  if [[ ${KEEP:-0} == 1 ]]; then
    echo "left running; the log is $log"
    return
  fi
  down --volumes
  # podman-compose leaves some of them.
  "$engine" volume ls --quiet --filter name=spikeproof-smoke_ |
    xargs -r "$engine" volume rm >>"$log" 2>&1
  # Belongs to the user of the containers.
  "$engine" run --rm --user 0:0 --volume "$work:/mnt" --entrypoint rm "$IMAGE" -rf /mnt/runs
  if ((failed)); then echo "the log is $log"; else rm -rf "$work"; fi
}
trap finish EXIT

status() { curl --silent --max-time 20 --output /dev/null --write-out '%{http_code}' "$@"; }
status_is() { # CODE CURL-ARGUMENTS...
  local wanted=$1 got
  shift
  got=$(status "$@")
  echo "$got $*"
  [[ $got == "$wanted" ]]
}
sweep_run() { # its id in MLflow
  local experiment
  experiment=$(curl -s "$url/api/2.0/mlflow/experiments/get-by-name?experiment_name=$1" |
    sed -n 's/.*"experiment_id": *"\([0-9]*\)".*/\1/p' | head -n 1)
  curl -s "$url/api/2.0/mlflow/runs/search" -H 'Content-Type: application/json' \
    -d "{\"experiment_ids\": [\"$experiment\"], \"filter\": \"tags.kind = 'sweep'\"}" |
    tr ',' '\n' | tr '{' '\n' | sed -n 's/.*"run_id": *"\([0-9a-f]*\)".*/\1/p' | head -n 1
}
report_through_mlflow() {
  curl -sf "$url/get-artifact?path=report/index.html&run_uuid=$(sweep_run "$1")" | grep -ci '<html'
}
loopback_only() {
  local ports
  ports=$("$engine" ps --filter label=com.docker.compose.project=spikeproof-smoke --format '{{.Ports}}' |
    tr ',' '\n' | grep -e '->')
  echo "$ports"
  [[ -n $ports ]] && ! grep -qv '^ *127\.0\.0\.1:' <<<"$ports"
}
ray_answers() { # with VARIABLE=VALUE... in place of the token
  within ray-worker timeout 60 env "$@" ray status --address ray-head:6379
}
secrets() {
  within ray-head cat /run/secrets/ray/token && echo
  within mlflow cat /run/secrets/database/password && echo
}
traces() { # all places where a secret could have been left
  local id
  "$engine" history --no-trunc "$IMAGE"
  "$engine" inspect "$IMAGE"
  for id in $(containers); do
    "$engine" inspect "$id"
    "$engine" logs "$id" 2>&1
  done
  for id in $("$engine" ps --quiet --filter label=com.docker.compose.project=spikeproof-smoke); do
    "$engine" top "$id"
  done
  within mlflow sh -c 'cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline; cat $(find /artifacts -type f)' 2>/dev/null
  within ray-worker sh -c 'cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline; cat $(find /store /tmp -type f -not -name .pgpass)' 2>/dev/null
  within postgres pg_dump --host 127.0.0.1 --username spikeproof --no-password mlflow 2>/dev/null
}
no_secret_anywhere() {
  local found
  (($(secrets | grep -c '^[0-9a-f]\{64\}$') == 2)) || return 1
  traces >"$work/traces"
  found=$(grep --count --text --fixed-strings --file <(secrets) "$work/traces")
  echo "$(wc -c <"$work/traces") bytes, $found lines with a secret"
  rm "$work/traces"
  [[ $found == 0 ]]
}
postgres_refuses() { # a client without the password
  refused within mlflow env PGPASSFILE=/dev/null python -c \
    'import psycopg2; psycopg2.connect(host="postgres", user="spikeproof", dbname="mlflow")'
}

say "$COMPOSE; the log is $log"
if [[ ${BUILD:-1} != 0 ]]; then
  read -ra build_args <<<"${BUILD_ARGS:-}"
  check "the image is built" "$engine" build "${build_args[@]}" --file docker/Dockerfile --tag "$IMAGE" \
    --build-arg REVISION="$(git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)" .
  ((failed)) && exit 1
fi

start first 1
check "a first up makes the secrets and runs the sweep to its end" sweep_ends
check "the report lies in the store on the host" test -s "$STORE/reports/first/index.html"
check "MLflow answers on $url" status_is 200 "$url/"
check "the report is reached through MLflow" report_through_mlflow first
check "a foreign Host header is refused" status_is 403 -H 'Host: attacker.example' "$url/"
check "published ports are on 127.0.0.1 alone" loopback_only
check "Ray answers whoever has the token" ray_answers RAY_AUTH_MODE=token
check "Ray refuses whoever has none" refused ray_answers RAY_AUTH_MODE=disabled RAY_AUTH_TOKEN_PATH=
check "Ray refuses a wrong token" refused ray_answers RAY_AUTH_TOKEN_PATH= RAY_AUTH_TOKEN="$(printf '0%.0s' {1..64})"
check "PostgreSQL refuses whoever has no password" postgres_refuses
check "no secret in image, inspect, logs, processes, store, artifacts, database" no_secret_anywhere
check "services run without root" test "$(within ray-worker id -u)" != 0
check "root file systems are read-only" refused within ray-worker touch /opt/written

start killed 12
check "a second sweep trains" sweep_says "at: training"
sleep 8
killed_at=$SECONDS
check "a worker is killed in mid-sweep" "$engine" kill --signal KILL "$(container ray-worker)"
check "the sweep finishes without it" sweep_ends
say "        $((SECONDS - killed_at)) s after the kill"

start stopped 6
check "a third sweep trains" sweep_says ": trained in"
check "it stops when asked, and writes down how far it is" sweep_stops
check "all is taken down" down
check "and brought up again" up
check "the sweep goes on to its end" sweep_ends
check "without training again what was trained" test "$(sweep_log | grep -c ': trained in')" -lt 4
down
up
check "a complete sweep has nothing to run" sweep_ends
check "and says so" sweep_says "is complete in /store: nothing to run"
check "its report is still reached through MLflow" report_through_mlflow stopped

if ((failed)); then echo "smoke test FAILED"; else echo "smoke test ok"; fi
exit "$failed"
