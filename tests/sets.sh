# What the sets share; sourced, not run.
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$top" || exit 1
jobs=${CHASQUI_JOBS:-$(nproc)}

export CHASQUI_BUILT=yes # the runners that sets call need not build

# build PRESET [TARGET...]: configures and builds quietly, alone in that build's folder; shows the errors when it fails.
build() {
    local preset=$1 log
    shift
    mkdir -p build/tests
    log=build/tests/build-$preset.log
    exec 8>"build/tests/build-$preset.lock"
    flock 8
    if ! { cmake --preset "$preset" && cmake --build --preset "$preset" -j "$jobs" ${1:+--target "$@"}; } >"$log" 2>&1 8>&-; then
        grep -E -A8 'error|FAILED|CMake Error' "$log" | head -n 60
        echo "the $preset build failed; all of it is in $log"
        echo "0 passed, 1 failed"
        exit 1
    fi
    exec 8>&-
}

# build_unit_tests PRESET REGEX: builds the unit tests whose names match, and what they need.
build_unit_tests() {
    local targets
    build "$1" proto_mail # configures
    targets=$(ctest --test-dir "build/$1" -N -R "$2" | sed -nE 's|^ *Test +#[0-9]+: unit/(.*/)?([^/]+)$|test_\2|p')
    # shellcheck disable=SC2086
    build "$1" $targets
}

# run_ctest PRESET ARGS...: runs ctest and ends with the counting line. A test that fails is tried once more, because
# the machine may be busy and some tests have real deadlines; those that needed it are named, so that it is seen.
run_ctest() {
    local preset=$1 out total failed
    shift
    out=build/tests/ctest-$preset.log
    ctest --test-dir "build/$preset" -j "$jobs" --output-on-failure --repeat until-pass:2 "$@" >"$out" 2>&1
    local rc=$?
    sed -nE 's/^ *Start +[0-9]+: (.*)$/\1/p' "$out" | sort | uniq -d | sed 's/^/needed a second try: /'
    total=$(sed -nE 's/.* tests failed out of ([0-9]+)$/\1/p' "$out" | tail -n 1)
    failed=$(sed -nE 's/^[0-9]+% tests passed, ([0-9]+) tests? failed out of [0-9]+$/\1/p' "$out" | tail -n 1)
    [ "$rc" -eq 0 ] || tail -n 80 "$out"
    echo "$((${total:-0} - ${failed:-0})) passed, ${failed:-1} failed"
    return $rc
}
