#!/usr/bin/env bash
# Kills processes that write behind, PostgreSQL, and the Redis that holds their stream, thousands of times:
# tests/write_behind_kills.rs and tests/redis_stream_kills.rs, at length.
# `scripts/kills.sh --help` tells how to run a part of it.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec </dev/null

ROUNDS=5000
FEATURES="local-log postgres redis sqlite testing"
TESTS="write_behind_kills redis_stream_kills"

usage() {
    cat <<TEXT
Usage: scripts/kills.sh [--rounds N] [--release] [TEST…]

Runs the tests of tests/write_behind_kills.rs and tests/redis_stream_kills.rs whose names contain one of TEST, or all of them,
with N kills of each kind. Says every 250 kills how far it is. All of them take about two hours with $ROUNDS on two cores.
PostgreSQL and Redis have to be installed.

  --rounds N  so many kills of each kind instead of $ROUNDS
  --release   optimised
  --help      print this

Tests:
TEXT
    # Unquoted: the words of it.
    for test in $TESTS; do
        tests_of "$test"
    done
}

tests_of() {
    grep -A 1 '^#\[tokio::test' "tests/$1.rs" | sed -n 's/^async fn \([a-z_]*\).*/  \1/p'
}

die() {
    echo "scripts/kills.sh: $*" >&2
    exit 1
}

main() {
    local rounds=$ROUNDS tests="" profile=""
    while [ $# -gt 0 ]; do
        case "$1" in
            --help | -h) usage && exit 0 ;;
            --release) profile=--release ;;
            --rounds)
                [[ "${2:-}" =~ ^[1-9][0-9]*$ ]] || die "--rounds wants a number"
                rounds=$2
                shift
                ;;
            -*) die "unknown option $1; try --help" ;;
            *) tests="$tests $1" ;;
        esac
        shift
    done
    local started=$SECONDS
    echo "$rounds kills of each kind"
    # Unquoted: none, or one, or several words.
    LARDER_REQUIRE_ALL=1 LARDER_TEST_ROUNDS=$rounds cargo test $profile --features "$FEATURES" \
        $(printf -- '--test %s ' $TESTS) -- --nocapture $tests
    echo "Passed, in $(((SECONDS - started) / 60)) minutes."
}

main "$@"
