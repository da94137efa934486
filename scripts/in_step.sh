#!/usr/bin/env bash
# Four processes with memories above one Redis, in all kinds of trouble, for longer than the tests do it.
set -euo pipefail

usage() {
    cat <<'TEXT'
Usage: scripts/in_step.sh [SECONDS] [TEST]

Runs tests/in_step.rs, or one of its tests, with troubles for SECONDS each (default: 600), optimised, and prints what was
checked and how often each trouble came. Any read that is behind Redis by more than the bound ends it with a failure.
With LARDER_TEST_SEED=N, as a run prints it, the troubles are the same once more.

  --help  print this
TEXT
}

main() {
    case "${1:-}" in
        --help | -h) usage && exit 0 ;;
        -*) usage >&2 && exit 2 ;;
    esac
    local seconds=${1:-600}
    [[ $seconds =~ ^[0-9]+$ ]] || { echo "scripts/in_step.sh: '$seconds' is no number of seconds" >&2; exit 2; }
    cd "$(dirname "${BASH_SOURCE[0]}")/.."
    LARDER_REQUIRE_ALL=1 cargo test --release --all-features --test in_step --no-run
    LARDER_REQUIRE_ALL=1 LARDER_TEST_SECONDS=$seconds \
        cargo test --release --all-features --test in_step -- --nocapture --test-threads 1 ${2:+"$2"} &
    local run=$! begun=$SECONDS
    while kill -0 "$run" 2>/dev/null; do
        [ ! -t 2 ] || printf '\r%d s of %s for each test' $((SECONDS - begun)) "$seconds" >&2
        sleep 1
    done
    [ ! -t 2 ] || echo >&2
    wait "$run"
}

main "$@"
