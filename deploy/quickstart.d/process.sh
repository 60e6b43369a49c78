# Starting, stopping and waiting for the processes of one cluster. Sourced by deploy/quickstart.
# Each runs on its own session, logs to $dir/logs/NAME.log and leaves its pid in $dir/run/NAME.pid.

reverse() { printf '%s\n' "$@" | tac; }

known_process() {
    local name
    for name in "${process_names[@]}"; do [ "$name" = "$1" ] && return 0; done
    return 1
}

pid_of() { cat "$dir/run/$1.pid" 2>/dev/null || true; }

# The pid must still be ours: pids are used again.
running() {
    local pid
    pid=$(pid_of "$1")
    [ -n "$pid" ] && [ "$(readlink "/proc/$pid/exe" 2>/dev/null)" != "" ] &&
        tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF -- "$dir/conf/$1.yaml"
}

# They fill the cores of this machine together: one that wakes does not interrupt another one of them (sched(7)).
scheduling=(chrt --batch 0)
"${scheduling[@]}" true 2>/dev/null || scheduling=()

start_process() {
    local name=$1
    running "$name" && return 0
    setsid "${scheduling[@]}" "$bin/$(program_of "$name")" --config "$dir/conf/$name.yaml" >>"$dir/logs/$name.log" 2>&1 </dev/null &
    echo $! >"$dir/run/$name.pid"
    disown
}

stop_process() {
    local name=$1 pid tries=0
    running "$name" || { rm -f "$dir/run/$name.pid"; return 0; }
    pid=$(pid_of "$name")
    kill -TERM "$pid" 2>/dev/null || true
    while running "$name"; do
        tries=$((tries + 1))
        [ $tries -lt 300 ] || { say "$name did not stop in 30 s; killed"; kill -KILL "$pid" 2>/dev/null || true; }
        sleep 0.1
    done
    rm -f "$dir/run/$name.pid"
}

http_ok() { curl -fsS -m 2 -o /dev/null "http://$1/readyz" 2>/dev/null; }

# Every process answers /readyz; says what is missing every 10 s, gives up after two minutes.
wait_ready() {
    local name waiting tries=0
    while :; do
        waiting=()
        for name in "${process_names[@]}"; do
            running "$name" || die "$name ended; its last words: $(tail -n 3 "$dir/logs/$name.log")" "read $dir/logs/$name.log"
            http_ok "$(admin_of "$name")" || waiting+=("$name")
        done
        [ ${#waiting[@]} -gt 0 ] || return 0
        tries=$((tries + 1))
        [ $((tries % 50)) -ne 0 ] || say "waiting for ${waiting[*]}: $(curl -sS -m 2 "http://$(admin_of "${waiting[0]}")/readyz?verbose" 2>&1 | grep -v '^\[+\]' | head -n 2 | tr '\n' ' ')"
        [ $tries -lt 600 ] || die "${waiting[*]} did not become ready in two minutes" "read the logs in $dir/logs"
        sleep 0.2
    done
}
