# The settings files of a cluster's processes: deploy/quickstart and deploy/compose.yaml have the same. Sourced; asks the
# sourcing script for names, addresses and folders (rpc_of, rpc_settings, admin_listen, data_of, certs_dir ...: see
# layout.sh) and for settings_of_directory, settings_of_events and settings_of_redis (services.sh).

process_names=(storage-a storage-b storage-c quota-1 router-1 router-2 frontend-1 frontend-2)

role_of() {
    case $1 in
        storage-*) echo storage-node ;;
        quota-*) echo quota-service ;;
        router-*) echo router ;;
        frontend-*) echo frontend ;;
    esac
}

dc_of() {
    case $1 in
        storage-*) echo "${1#storage-}" ;;
        *-1) echo a ;;
        *) echo b ;;
    esac
}

# As everybody knows them; port_of adds where they are.
declare -A client_ports=([smtp]=25 [lmtp]=24 [imap]=143 [imaps]=993 [pop3]=110 [pop3s]=995 [submissions]=465 [submission]=587)

list_of() { # rpc_of storage: ["127.0.0.1:...", ...]
    local name out=
    for name in "${process_names[@]}"; do [[ $name = $2-* ]] && out+="${out:+, }\"$($1 "$name")\""; done
    echo "[$out]"
}

link_tls() {
    local certs
    certs=$(certs_dir)
    printf 'tls: {ca: %s/cluster-ca.pem, cert: %s/%s.pem, key: %s/%s.key}\n' "$certs" "$certs" "$1" "$certs" "$1"
}

settings_of_storage_node() {
    cat <<YAML
cluster: $cluster
data_dir: $(data_of "$1")
rpc: {$(rpc_settings "$1"), workers: 0}
seeds: $(list_of rpc_of storage)
labels: {region: local, dc: $(dc_of "$1"), zone: $(dc_of "$1")1, host: $1}
$(link_tls storage)
store: {block_cache: 128MiB}
threads: {apply: 1}
$(settings_of_events "$1")
admin: {listen: "$(admin_listen "$1")"}
YAML
}

settings_of_router() {
    cat <<YAML
cluster: $cluster
node: $1
labels: {dc: $(dc_of "$1")}
workers: 1
rpc: {$(rpc_settings "$1")}
seeds: $(list_of rpc_of storage)
$(link_tls router)
admin: {listen: "$(admin_listen "$1")"}
YAML
}

settings_of_quota_service() {
    cat <<YAML
cluster: $cluster
node: $1
rpc: {$(rpc_settings "$1")}
$(link_tls quota)
$(settings_of_redis)
$(more_limits)
admin: {listen: "$(admin_listen "$1")"}
YAML
}

listener() { # PROTOCOL PORT TLS
    local address
    listen_addresses | while read -r address; do printf '  - {protocol: %s, listen: "%s:%s", tls: %s}\n' "$1" "$address" "$2" "$3"; done
}

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
  - {cert: $(certs_dir)/public.pem, key: $(certs_dir)/public.key}
ticket_keys: $(certs_dir)/tickets.key
spool: $(spool_dir)
$(settings_of_events "$1")
workers: 1
$(settings_of_directory "$1")
$(more_limits)
admin_rpc: {listen: "$(admin_rpc_listen "$1")"}
admin: {listen: "$(admin_listen "$1")"}
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
