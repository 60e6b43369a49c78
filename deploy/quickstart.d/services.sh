# PostgreSQL, Redis and Kafka beside the cluster (--services): servers of its own on loopback, with private ports, a
# folder and passwords of their own. Sourced by deploy/quickstart. For trying: PostgreSQL runs without fsync.

services=${services:-no}
service_names=(postgresql redis kafka)

# PostgreSQL refuses to run as root and runs as the user postgres then, and a unix socket's path is short: the servers'
# folder is not inside the cluster's.
make_services() {
    [ "$services" = yes ] || return 0
    "$top/deploy/install-deps" services >&2
    if [ -z "${services_dir:-}" ]; then
        services_dir=$(mktemp -d /tmp/chasqui-services.XXXXXX)
        chmod 711 "$services_dir"
        printf 'services=yes\nservices_dir=%s\n' "$services_dir" >>"$dir/layout.env"
    fi
    mkdir -p "$services_dir/redis" "$services_dir/kafka"
    chmod 700 "$services_dir/redis" "$services_dir/kafka"
    [ -s "$dir/conf/directory-key" ] || (umask 077; openssl rand -hex 32 >"$dir/conf/directory-key")
    [ -s "$dir/conf/redis-password" ] || (umask 077; openssl rand -hex 24 >"$dir/conf/redis-password")
}

redis_port() { echo $((base_port + 2300)); }
kafka_port() { echo $((base_port + 2301)); }
postgres() { local verb=$1; shift; "$top/tests/support/postgres" "$verb" "$services_dir/postgres" "$@"; }

service_pid() {
    case $1 in
        postgresql) head -n 1 "$services_dir/postgres/data/postmaster.pid" 2>/dev/null || true ;;
        *) cat "$services_dir/$1/pid" 2>/dev/null || true ;;
    esac
}
service_runs() {
    local pid
    pid=$(service_pid "$1")
    [ -n "$pid" ] && tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF -- "$services_dir"
}

start_service() {
    service_runs "$1" && return 0
    say "starting $1"
    case $1 in
        postgresql) if [ -e "$services_dir/postgres/data" ]; then postgres start; else postgres new; fi ;;
        redis)
            (umask 077; cat >"$services_dir/redis/redis.conf" <<CONF
port $(redis_port)
bind 127.0.0.1
dir $services_dir/redis
requirepass $(cat "$dir/conf/redis-password")
save ""
set-proc-title no
CONF
            )
            setsid redis-server "$services_dir/redis/redis.conf" >>"$dir/logs/redis.log" 2>&1 </dev/null &
            echo $! >"$services_dir/redis/pid"
            disown ;;
        kafka) "$top/tests/support/kafka/broker" start "$services_dir/kafka" "$(kafka_port)" >>"$dir/logs/kafka.log" 2>&1 ;;
    esac || die "$1 did not start" "read the logs in $dir/logs and $services_dir"
}

start_services() {
    local name
    [ "$services" != yes ] || for name in "${service_names[@]}"; do start_service "$name"; done
}

stop_services() {
    [ "$services" = yes ] || return 0
    ! service_runs postgresql || postgres stop
    ! service_runs redis || kill -TERM "$(service_pid redis)"
    ! service_runs kafka || "$top/tests/support/kafka/broker" stop "$services_dir/kafka" TERM
}

remove_services() { [ "$services" != yes ] || rm -rf -- "$services_dir"; }

# The schema and the topics; the front-ends wait for the schema.
prepare_services() {
    local tries=0 out
    [ "$services" = yes ] || return 0
    until out=$(ctl db migrate 2>&1); do
        tries=$((tries + 1))
        [ $tries -lt 150 ] || die "the directory's schema could not be made: $out" "read $dir/logs/frontend-1.log"
        sleep 0.2
    done
    out=$(ctl events topics --create --partitions 3 2>&1) || die "the topics could not be made: $out" "read $dir/logs/kafka.log"
}

settings_of_directory() {
    if [ "$services" = yes ]; then
        echo "directory:"
        echo "  backend: postgresql"
        echo "  postgresql: {dsn: \"host=$services_dir/postgres/run dbname=mail user=chasqui\"}"
        echo "  known: {file: $dir/data/$1-known, key_file: $dir/conf/directory-key}"
    else
        echo "directory: {sqlite: {path: $dir/data/directory.sqlite}}"
    fi
}
settings_of_events() {
    if [ "$services" = yes ]; then
        echo "events: {kafka: {servers: [\"127.0.0.1:$(kafka_port)\"], client_id: $1}}"
    else
        echo "events: {file: {path: $dir/data/$1-events.ndjson}}"
    fi
}
settings_of_redis() {
    [ "$services" != yes ] ||
        echo "redis: {servers: [\"127.0.0.1:$(redis_port)\"], password_file: $dir/conf/redis-password}"
}

delivery_events() {
    local name
    for name in storage-a storage-b storage-c; do curl -fsS "http://$(admin_of $name)/metrics"; done |
        awk '/^chasqui_events_produced_total\{.*mail.delivery.*acknowledged/ { n += $NF } END { print n + 0 }'
}

# All three are used: accounts are rows, the quota-service is connected, the trial message's delivery is a record.
check_services() {
    local accounts clients tries=0
    [ "$services" = yes ] || return 0
    accounts=$(postgres sql "select count(*) from mail.account" | tr -d ' ')
    [ "$accounts" -ge 2 ] || die "PostgreSQL has $accounts accounts" "read $dir/logs/frontend-1.log"
    clients=$(REDISCLI_AUTH=$(cat "$dir/conf/redis-password") redis-cli -p "$(redis_port)" client list | wc -l)
    [ "$clients" -ge 2 ] || die "the quota-service is not connected to Redis" "read $dir/logs/quota-1.log"
    until [ "$(delivery_events)" -gt 0 ]; do
        tries=$((tries + 1))
        [ $tries -lt 150 ] || die "no delivery event got to Kafka" "read the logs of the storage nodes in $dir/logs"
        sleep 0.2
    done
    say "accounts are in PostgreSQL, limits in Redis, events in Kafka"
}

services_text() {
    [ "$services" = yes ] || return 0
    cat <<TXT

PostgreSQL:          psql -h $services_dir/postgres/run -U chasqui mail
Redis:               REDISCLI_AUTH=\$(cat $dir/conf/redis-password) redis-cli -p $(redis_port)
Kafka:               127.0.0.1:$(kafka_port); kcat -b 127.0.0.1:$(kafka_port) -t mail.delivery.v1 -o beginning -f '%h %s\n'
Stop one and watch:  mail goes on; kill -STOP $(service_pid redis) or $(service_pid kafka), and look at /readyz?verbose
TXT
}
