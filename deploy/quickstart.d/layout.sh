# What a cluster of the quick start consists of: names, ports, certificates, settings files.
# Sourced by deploy/quickstart. All of it follows from the base port, which is kept in layout.env.

process_names=(storage-a storage-b storage-c quota-1 router-1 router-2 frontend-1 frontend-2)

role_of() {
    case $1 in
        storage-*) echo storage-node ;;
        quota-*) echo quota-service ;;
        router-*) echo router ;;
        frontend-*) echo frontend ;;
    esac
}
program_of() { echo "chasqui-$(role_of "$1")"; }

dc_of() {
    case $1 in
        storage-*) echo "${1#storage-}" ;;
        *-1) echo a ;;
        *) echo b ;;
    esac
}

# Ports: the first front-end at base+N, the second at base+1000+N (N as everybody knows it: 25, 143, 993 ...),
# the RPC of process i at base+2000+i, its admin port at base+2100+i, the role admin at base+2200+i; Redis and Kafka (--services) at base+2300 and +2301.
declare -A client_ports=([smtp]=25 [lmtp]=24 [imap]=143 [imaps]=993 [pop3]=110 [pop3s]=995 [submissions]=465 [submission]=587)

port_of() { echo $((base_port + ($1 - 1) * 1000 + client_ports[$2])); }

index_of() {
    local i
    for i in "${!process_names[@]}"; do [ "${process_names[i]}" = "$1" ] && { echo "$i"; return 0; }; done
    return 1
}
rpc_of() { echo "127.0.0.1:$((base_port + 2000 + $(index_of "$1")))"; }
admin_of() { echo "127.0.0.1:$((base_port + 2100 + $(index_of "$1")))"; }
admin_rpc_of() { echo "127.0.0.1:$((base_port + 2200 + $(index_of "$1")))"; }

data_of() { case $1 in storage-*) echo "$dir/data/$1" ;; *) echo "" ;; esac; }

# A storage node's id, as chasquictl writes it; empty before its first start.
node_of() {
    [ -e "$dir/data/$1/identity" ] || return 0
    sed -nE 's/^node (.{8})(.{4})(.{4})(.{4})(.{12})$/\1-\2-\3-\4-\5/p' "$dir/data/$1/identity"
}

ca=
load_layout() {
    local asked=$services
    . "$dir/layout.env"
    [ "$asked" = no ] || [ "$services" = yes ] || services=yes
    ca=$dir/certs/public-ca.pem
}

port_is_free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

block_is_free() {
    local name protocol i
    for i in 1 2; do
        for protocol in "${!client_ports[@]}"; do
            port_is_free $(($1 + (i - 1) * 1000 + client_ports[$protocol])) || return 1
        done
    done
    for i in $(seq 0 $((${#process_names[@]} - 1))); do
        for name in 2000 2100 2200 2300; do port_is_free $(($1 + name + i)) || return 1; done
    done
}

choose_base_port() {
    local tries
    if [ "${base_port:-}" != auto ]; then
        base_port=${base_port:-10000}
        [[ $base_port =~ ^[0-9]+$ ]] && [ "$base_port" -ge 1024 ] && [ "$base_port" -le 62000 ] ||
            die "--base-port is 1024 to 62000, or \"auto\""
        block_is_free "$base_port" || die "something listens in the ports from $base_port on" "give another --base-port, or \"auto\""
        return
    fi
    for tries in $(seq 1 50); do
        # Below the range that the kernel gives to outgoing connections.
        base_port=$((11000 + (RANDOM % 6) * 3000 + RANDOM % 900))
        ! block_is_free "$base_port" || return 0
    done
    die "no free block of ports was found in $tries tries"
}

make_layout() {
    mkdir -p "$dir"/{conf,certs,data,logs,run,spool}
    chmod 700 "$dir/certs" "$dir/data"
    if [ ! -e "$dir/layout.env" ]; then
        choose_base_port
        echo "base_port=$base_port" >"$dir/layout.env"
    fi
    load_layout
}

make_certificates() {
    "$top/deploy/make-certs" --host localhost --host 127.0.0.1 --host ::1 "$dir/certs" >"$dir/logs/make-certs.log" 2>&1 ||
        die "the certificates could not be made: $(tail -n 1 "$dir/logs/make-certs.log")"
    cluster=$(cat "$dir/certs/cluster-id")
    local name
    for name in "${process_names[@]}"; do "settings_of_$(role_of "$name" | tr - _)" "$name" >"$dir/conf/$name.yaml"; done
    settings_of_ctl >"$dir/conf/chasquictl.yaml"
}

list_of() { # rpc_of storage: ["127.0.0.1:...", ...]
    local name out=
    for name in "${process_names[@]}"; do [[ $name = $2-* ]] && out+="${out:+, }\"$($1 "$name")\""; done
    echo "[$out]"
}

link_tls() { printf 'tls: {ca: %s/certs/cluster-ca.pem, cert: %s/certs/%s.pem, key: %s/certs/%s.key}\n' "$dir" "$dir" "$1" "$dir" "$1"; }

settings_of_storage_node() {
    cat <<YAML
cluster: $cluster
data_dir: $(data_of "$1")
rpc: {listen: "$(rpc_of "$1")", workers: 1}
seeds: $(list_of rpc_of storage)
labels: {region: local, dc: $(dc_of "$1"), zone: $(dc_of "$1")1, host: $1}
$(link_tls storage)
store: {block_cache: 128MiB}
threads: {apply: 1}
$(settings_of_events "$1")
admin: {listen: "$(admin_of "$1")"}
YAML
}

settings_of_router() {
    cat <<YAML
cluster: $cluster
node: $1
labels: {dc: $(dc_of "$1")}
workers: 1
rpc: {listen: "$(rpc_of "$1")"}
seeds: $(list_of rpc_of storage)
$(link_tls router)
admin: {listen: "$(admin_of "$1")"}
YAML
}

settings_of_quota_service() {
    cat <<YAML
cluster: $cluster
node: $1
rpc: {listen: "$(rpc_of "$1")"}
$(link_tls quota)
$(settings_of_redis)
admin: {listen: "$(admin_of "$1")"}
YAML
}

listener() { printf '  - {protocol: %s, listen: "127.0.0.1:%s", tls: %s}\n  - {protocol: %s, listen: "[::1]:%s", tls: %s}\n' "$1" "$2" "$3" "$1" "$2" "$3"; }

settings_of_frontend() {
    local n=${1#frontend-}
    cat <<YAML
cluster: $cluster
node: $1
hostname: localhost
routers: $(list_of rpc_of router)
quota: "$(rpc_of quota-1)"
$(link_tls frontend-admin)
certificates:
  - {cert: $dir/certs/public.pem, key: $dir/certs/public.key}
ticket_keys: $dir/certs/tickets.key
spool: $dir/spool
$(settings_of_events "$1")
workers: 1
$(settings_of_directory "$1")
admin_rpc: {listen: "$(admin_rpc_of "$1")"}
admin: {listen: "$(admin_of "$1")"}
listeners:
$(listener imap "$(port_of "$n" imap)" false)
$(listener imap "$(port_of "$n" imaps)" true)
$(listener pop3 "$(port_of "$n" pop3)" false)
$(listener pop3 "$(port_of "$n" pop3s)" true)
$(listener smtp "$(port_of "$n" smtp)" false)
$(listener lmtp "$(port_of "$n" lmtp)" false)
$(listener submission "$(port_of "$n" submission)" false)
$(listener submission "$(port_of "$n" submissions)" true)
YAML
}

settings_of_ctl() {
    cat <<YAML
cluster: $cluster
$(link_tls operator)
admin: $(list_of admin_rpc_of frontend)
storage: $(list_of rpc_of storage)
YAML
}

ctl() { "$bin/chasquictl" --config "$dir/conf/chasquictl.yaml" "$@"; }

# Once in the cluster's life; a node that belongs to a cluster refuses it.
init_cluster() {
    local name nodes=() tries=0 out
    [ ! -e "$dir/initialised" ] || return 0
    for name in "${process_names[@]}"; do [[ $name = storage-* ]] && nodes+=("$(rpc_of "$name")"); done
    until out=$(ctl cluster init "${nodes[@]}" 2>&1); do
        tries=$((tries + 1))
        [ $tries -lt 100 ] || die "the cluster could not be initialised: $out" "read the logs in $dir/logs"
        sleep 0.2
    done
    : >"$dir/initialised"
}

endpoints_json() {
    local protocol i
    for protocol in "${!client_ports[@]}"; do
        for i in 1 2; do
            jq -nc --arg protocol "$protocol" --argjson port "$(port_of $i "$protocol")" '{$protocol, host: "localhost", $port}'
        done
    done | jq -sc 'group_by(.protocol) | map({key: .[0].protocol, value: map({host, port})}) | from_entries'
}
