#!/usr/bin/env bash
# What a container does: entrypoint.sh ROLE [ARGUMENTS]; anything that is no role is run as it is.
#
# Each role waits by itself for what it needs, so that the order of starting does not matter, also
# where health checks are not run.
set -euo pipefail

TOKEN=${RAY_AUTH_TOKEN_PATH:-/run/secrets/ray/token}
PASSWORD=/run/secrets/database/password
ADMIN_PASSWORD=/run/secrets/database/mlflow_admin
RAYLET_PORT=6380
# Where a host has several addresses, the one that the other hosts reach.
node=(--disable-usage-stats --object-store-memory="${OBJECT_STORE_BYTES:-}"
  ${RAY_IP:+--node-ip-address="$RAY_IP"})
services=(python "$(dirname "$0")/services.py")

wait_for_file() {
  local tries=0
  until [[ -r $1 ]]; do
    ((++tries % 15)) || echo "waiting for $1, which the service init makes" >&2
    sleep 1
  done
}

# One file for all that speak to PostgreSQL: the password is in no address, argument or variable.
use_password() {
  wait_for_file "$PASSWORD"
  export PGPASSFILE=/tmp/.pgpass
  (umask 077 && sed 's/.*/*:*:*:*:&/' "$PASSWORD" >"$PGPASSFILE")
}

# MLFLOW_AUTH=basic: what the server and its client read, in files as well.
mlflow_login() { # server | client
  wait_for_file "$ADMIN_PASSWORD"
  (
    umask 077
    mkdir -p ~/.mlflow
    printf '[mlflow]\nmlflow_tracking_username = admin\nmlflow_tracking_password = %s\n' \
      "$(<"$ADMIN_PASSWORD")" >~/.mlflow/credentials
    [[ $1 == client ]] || printf '[mlflow]\n%s\n%s\n%s\nadmin_password = %s\n' \
      'default_permission = NO_PERMISSIONS' 'admin_username = admin' \
      "database_uri = postgresql+psycopg2://$POSTGRES_USER@$POSTGRES_HOST/mlflow_auth" \
      "$(<"$ADMIN_PASSWORD")" >~/.mlflow/auth.ini
  )
}

wait_for_head() {
  wait_for_file "$TOKEN"
  until ray health-check --address "$RAY_HEAD" >/dev/null 2>&1; do
    echo "waiting for the Ray head at $RAY_HEAD" >&2
    sleep 2
  done
}

# Secrets are made once; places on volumes are given to the user who runs the other services.
init() {
  local folder file
  umask 077
  for file in /secrets/ray/token /secrets/database/password /secrets/database/mlflow_admin; do
    if [[ ! -s $file ]]; then
      python -c 'import secrets; print(secrets.token_hex(32), end="")' >"$file.new"
      mv "$file.new" "$file"
      echo "made $file"
    fi
  done
  chown -R "$RUN_AS" /secrets/ray /secrets/database
  for folder in /store /artifacts /app/data; do
    # A folder that Docker made, not one that somebody owns.
    if [[ $(stat -c %u "$folder") == 0 && ${RUN_AS%%:*} != 0 ]]; then
      chown "$RUN_AS" "$folder"
      chmod 755 "$folder"
    fi
  done
  if [[ $(stat -c %u /store) != "${RUN_AS%%:*}" ]]; then
    echo "the store on the host belongs to user $(stat -c %u:%g /store), the services run as" \
      "$RUN_AS: set RUN_AS=$(stat -c %u:%g /store), or give another STORE" >&2
  fi
}

mlflow_server() {
  use_password
  "${services[@]}" database mlflow
  # Names under which the server is asked for; any other Host header is refused.
  local hosts="mlflow:5000,localhost,localhost:*,127.0.0.1,127.0.0.1:*"
  if [[ ${MLFLOW_AUTH:-} == basic ]]; then
    "${services[@]}" database mlflow_auth
    mlflow_login server
    export MLFLOW_AUTH_CONFIG_PATH=~/.mlflow/auth.ini
    # Signs the forms of the UI; a new one at each start only ends open forms.
    MLFLOW_FLASK_SERVER_SECRET_KEY=$(python -c 'import secrets; print(secrets.token_hex(32))')
    export MLFLOW_FLASK_SERVER_SECRET_KEY
    set -- --app-name basic-auth "$@"
  fi
  exec mlflow server --host 0.0.0.0 --port 5000 --workers 1 \
    --backend-store-uri "postgresql+psycopg2://$POSTGRES_USER@$POSTGRES_HOST/mlflow" \
    --serve-artifacts --artifacts-destination /artifacts \
    --allowed-hosts "$hosts${MLFLOW_HOSTS:+,$MLFLOW_HOSTS}" "$@"
}

# It coordinates only: what computes are the workers.
ray_head() {
  wait_for_file "$TOKEN"
  exec ray start --head --block --port=6379 --num-cpus=0 --num-gpus=0 \
    --include-dashboard=false "${node[@]}" "$@" >/dev/null
}

ray_worker() {
  wait_for_head
  exec ray start --block --address="$RAY_HEAD" --node-manager-port="$RAYLET_PORT" \
    ${WORKER_CPUS:+--num-cpus="$WORKER_CPUS"} "${node[@]}" "$@" >/dev/null
}

sweep() {
  use_password
  "${services[@]}" database optuna
  [[ ${MLFLOW_AUTH:-} != basic ]] || mlflow_login client
  "${services[@]}" url "$MLFLOW_TRACKING_URI/health"
  wait_for_head
  # A driver needs a node of its own; this one takes no work.
  ray start --address="$RAY_HEAD" --num-cpus=0 --num-gpus=0 "${node[@]}" >/dev/null
  exec "${services[@]}" sweep "$@"
}

health() {
  case $1 in
    mlflow) exec "${services[@]}" url http://localhost:5000/health --once ;;
    ray-head) exec ray health-check --address 127.0.0.1:6379 ;;
    ray-worker) exec 3<>"/dev/tcp/127.0.0.1/$RAYLET_PORT" ;;
    *) echo "no health check for '$1'" >&2 && exit 2 ;;
  esac
}

role=$1
shift
case $role in
  init | sweep | health) "$role" "$@" ;;
  mlflow-server) mlflow_server "$@" ;;
  ray-head) ray_head "$@" ;;
  ray-worker) ray_worker "$@" ;;
  *)
    [[ ! -r $PASSWORD ]] || use_password
    exec "$role" "$@"
    ;;
esac
