# What a cluster of the quick start consists of: names, ports, certificates, settings files.
# Sourced by deploy/quickstart. All of it follows from the base port, which is kept in layout.env. The settings
# files themselves are in settings.sh.

program_of() { echo "chasqui-$(role_of "$1")"; }

# Ports: the first front-end at base+N, the second at base+1000+N (N as everybody knows it: 25, 143, 993 ...),
# the RPC of process i at base+2000+i, its admin port at base+2100+i, the role admin at base+2200+i; Redis and Kafka (--services) at base+2300 and +2301.
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

# What settings.sh asks for.
certs_dir() { echo "$dir/certs"; }
spool_dir() { echo "$dir/spool"; }
rpc_settings() { echo "listen: \"$(rpc_of "$1")\""; }
admin_rpc_listen() { admin_rpc_of "$1"; }
admin_listen() { admin_of "$1"; }
listen_addresses() { printf '%s\n' 127.0.0.1 '[::1]'; }
more_limits() { :; }

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

# A block is another cluster's also while nobody listens: before its processes have started, and when they are stopped.
# A claim is a file with that cluster's folder and the process that chose; it ends with both, and after an hour, so that
# folders that were left behind do not use up the blocks: a cluster that runs is seen by who listens.
claim_block() {
    local claims=/tmp/chasqui-ports pid folder
    mkdir -m 1777 "$claims" 2>/dev/null || [ -d "$claims" ] || return 0
    { exec 9>>"$claims/$1"; } 2>/dev/null || return 0 # of another user: who listens must do
    flock 9
    read -r pid folder <"$claims/$1" || true
    if [ -n "${folder:-}" ] && [ "$folder" != "$dir" ] && [ -n "$(find "$claims/$1" -mmin -60)" ] &&
        { kill -0 "$pid" 2>/dev/null || grep -qsx "base_port=$1" "$folder/layout.env"; }; then
        exec 9>&-
        return 1
    fi
    echo "$$ $dir" >"$claims/$1"
    exec 9>&-
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
        base_port=$((11000 + RANDOM % 8 * 2450))
        ! { claim_block "$base_port" && block_is_free "$base_port"; } || return 0
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

ctl() { "$bin/chasquictl" --config "$dir/conf/chasquictl.yaml" "$@"; }

# Once in the cluster's life; a node that belongs to a cluster refuses it, and says so when our first answer was lost.
init_cluster() {
    local name nodes=() tries=0 out
    [ ! -e "$dir/initialised" ] || return 0
    for name in "${process_names[@]}"; do [[ $name = storage-* ]] && nodes+=("$(rpc_of "$name")"); done
    until out=$(ctl cluster init "${nodes[@]}" 2>&1); do
        tries=$((tries + 1))
        case $out in *"is initialised already"*) break ;; esac
        [ $tries -lt 300 ] || die "the cluster could not be initialised: $out" "read the logs in $dir/logs"
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
