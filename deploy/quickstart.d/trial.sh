# A message in over SMTP, out over IMAPS and POP3S; and what a person sees at the end.
# Sourced by deploy/quickstart.

trial_addresses=(ana@example.test ben@example.test)

make_accounts() {
    local address password
    [ ! -e "$dir/accounts.json" ] || return 0
    ctl domain add example.test >/dev/null || die "the domain could not be made" "read $dir/logs/frontend-1.log"
    : >"$dir/accounts.new"
    chmod 600 "$dir/accounts.new"
    for address in "${trial_addresses[@]}"; do
        password=$(openssl rand -hex 12)
        printf '%s\n' "$password" | ctl account add "$address" --password-stdin >/dev/null ||
            die "the account $address could not be made" "read $dir/logs/frontend-1.log"
        jq -nc --arg a "$address" --arg p "$password" '{address: $a, password: $p}' >>"$dir/accounts.new"
    done
    (umask 077; jq -s . "$dir/accounts.new" >"$dir/accounts.json")
    rm -f "$dir/accounts.new"
}

password_of() { jq -r --arg a "$1" '.[] | select(.address == $a) | .password' "$dir/accounts.json"; }

# Credentials go to curl by a file descriptor, never by its command line.
curl_as() {
    local address=$1
    shift
    curl -sS -m 20 --cacert "$ca" --ssl-reqd -K <(printf 'user = "%s:%s"\n' "$address" "$(password_of "$address")") "$@"
}

trial() {
    local to=${trial_addresses[0]} from=${trial_addresses[1]} token found tries=0
    token=trial-$(openssl rand -hex 8)
    printf 'From: Ben <%s>\r\nTo: Ana <%s>\r\nSubject: %s\r\nDate: %s\r\nMessage-ID: <%s@example.test>\r\n\r\nThree replicas hold this line.\r\n' \
        "$from" "$to" "$token" "$(date -R)" "$token" >"$dir/trial.eml"
    curl_as "$from" --url "smtp://localhost:$(port_of 1 submission)" --mail-from "$from" --mail-rcpt "$to" -T "$dir/trial.eml" ||
        die "the trial message was not accepted" "read $dir/logs/frontend-1.log"
    found=$(curl_as "$to" "imaps://localhost:$(port_of 2 imaps)/INBOX" -X "UID SEARCH SUBJECT $token" | tr -d '\r')
    case "$found" in *SEARCH\ [0-9]*) ;; *) die "the trial message is not in IMAP (\"$found\")" "read $dir/logs/frontend-2.log" ;; esac
    curl_as "$to" "imaps://localhost:$(port_of 2 imaps)/INBOX;UID=${found##* }" | tr -d '\r' | grep -qx 'Three replicas hold this line.' ||
        die "the trial message read over IMAP is not what was sent" "read $dir/logs/frontend-2.log"
    curl_as "$to" "pop3s://localhost:$(port_of 1 pop3s)/$(curl_as "$to" "pop3s://localhost:$(port_of 1 pop3s)/" | tail -n 1 | cut -d' ' -f1)" |
        grep -q "Subject: $token" || die "the trial message is not in POP3" "read $dir/logs/frontend-1.log"
    say "a message went in over SMTP and was read over IMAPS and POP3S"
}

status_json() {
    local name
    for name in "${process_names[@]}"; do
        jq -nc --arg name "$name" --arg role "$(role_of "$name")" --arg program "$bin/$(program_of "$name")" \
            --arg node "$(node_of "$name")" --arg pid "$(running "$name" && pid_of "$name")" \
            --arg data "$(data_of "$name")" --arg config "$dir/conf/$name.yaml" --arg log "$dir/logs/$name.log" \
            --arg admin "$(admin_of "$name")" --arg dc "$(dc_of "$name")" \
            '{name: $name, role: $role, dc: $dc, node: $node, pid: ($pid | if . == "" then null else tonumber end), data: $data, config: $config, log: $log, admin: $admin, program: $program}'
    done | jq -s --argjson accounts "$(cat "$dir/accounts.json" 2>/dev/null || echo '[]')" --arg ca "$ca" --arg dir "$dir" \
        --argjson endpoints "$(endpoints_json)" --arg ctl "$dir/conf/chasquictl.yaml" --arg bin "$bin" \
        '{dir: $dir, bin: $bin, ca: $ca, ctl_config: $ctl, state: (if all(.pid) then "running" elif any(.pid) then "degraded" else "stopped" end), endpoints: $endpoints, accounts: $accounts, processes: .}'
}

status_text() {
    local ana=${trial_addresses[0]} leader_pid name
    (umask 077; rm -f "$dir/status.json"; status_json >"$dir/status.json") # it holds the passwords
    printf '\nprocess          role            dc  pid      admin\n'
    jq -r '.processes[] | [.name, .role, .dc, (.pid // "stopped" | tostring), .admin] | @tsv' "$dir/status.json" |
        while IFS=$'\t' read -r name role dc pid admin; do printf '%-16s %-15s %-3s %-8s http://%s\n' "$name" "$role" "$dc" "$pid" "$admin"; done
    leader_pid=$(pid_of storage-b)
    cat <<TXT

For a mail client (server localhost, CA $ca):
  IMAP  $(port_of 1 imaps) TLS, $(port_of 1 imap) STARTTLS     second front-end: $(port_of 2 imaps), $(port_of 2 imap)
  POP3  $(port_of 1 pop3s) TLS, $(port_of 1 pop3) STLS         second front-end: $(port_of 2 pop3s), $(port_of 2 pop3)
  SMTP  $(port_of 1 submissions) TLS, $(port_of 1 submission) STARTTLS, with AUTH; mail from outside: $(port_of 1 smtp)
$(jq -r '.accounts[] | "  user  \(.address)  password  \(.password)"' "$dir/status.json")

Read the inbox:      curl --cacert $ca --user $ana:$(password_of "$ana") "imaps://localhost:$(port_of 1 imaps)/INBOX" -X "FETCH 1:* (UID FLAGS ENVELOPE)"
Talk to it:          openssl s_client -CAfile $ca -crlf -quiet -connect localhost:$(port_of 1 imaps)
Kill a storage node: kill -9 ${leader_pid:-PID}; watch it go on; start it again with: deploy/quickstart --dir $dir${build_dir:+ --build-dir $build_dir} --start storage-b
Operate it:          $bin/chasquictl --config $dir/conf/chasquictl.yaml cluster status
TXT
    services_text
}
