#!/usr/bin/env bash
# Runs every check of this repository on a Debian or Ubuntu machine, a fresh one too; CI runs the same.
# `scripts/test.sh --help` tells how to run a part of it.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec </dev/null

# Tests that need something which may be missing skip themselves under a plain `cargo test`, not here.
export LARDER_REQUIRE_ALL=1

# There are dozens of programs: what makes the next build faster, and what only a debugger reads, costs more here than
# the tests themselves.
export CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=line-tables-only

# Debian package | Homebrew formula | a command it brings | why
PACKAGES=(
    "build-essential|gcc|cc|SQLite, in the services of examples/, is compiled from C"
    "jq|jq|jq|reads the features and examples out of cargo metadata"
    "redis-server|redis|redis-server|the Redis tier is tested on real servers"
    "postgresql|postgresql@15|postgres|the stores on sqlx are tested on a real server"
)

# Debian keeps the programs of PostgreSQL's server out of PATH, one folder for each version.
for folder in /usr/lib/postgresql/*/bin; do
    PATH="$PATH:$folder"
done

# cargo subcommand | how to install it | why
CARGO_TOOLS=(
    "fmt|rustup component add rustfmt|checks the formatting"
    "clippy|rustup component add clippy|finds likely mistakes"
    "deny|cargo install cargo-deny --locked|checks the dependencies, takes some minutes to build"
)

# name | what it checks; each is a function check_NAME below
CHECKS=(
    "format|the code is formatted by rustfmt"
    "clippy|no lint complains, with all features; benchmarks and examples compile"
    "docs|the documentation builds without a warning"
    "house|src keeps its floors and habits (tests/house)"
    "tree|the default features bring few crates, and none that needs a newer Rust (tests/tree)"
    "msrv|the library builds with the oldest Rust it promises, without sqlx and with it, where rustup has it"
    "deny|licences, duplicates and sources of the dependencies"
    "features|the library builds with no feature, and with each alone, and no lint complains"
    "debug|all tests of the workspace, documentation examples too, unoptimised"
    "deployments|those Redis tests of which it makes another matter, on a cluster of three primaries and three replicas, and over RESP3"
    "release|the library's tests of races, promises and cost once more, optimised"
    "schedules|random schedules of flights, fence and turns, 300,000 of them"
    "examples|every examples/*.rs runs"
    "blog|the blog runs a small job, another one on Redis, and refuses a flag it does not know"
    "shortener|the URL shortener runs a small job, on Redis, with a kill in the middle, and refuses a flag it does not know"
)
SLOW="release"

usage() {
    cat <<'TEXT'
Usage: scripts/test.sh [--no-install] [--quick] [CHECK…]

Runs the checks named, or all of them, and stops at the first that fails.
Says what it needs, and installs what is missing.

  --no-install  install nothing: stop, and name what is missing
  --quick       leave out the slow check: release
  --help        print this

Checks, in their order:
TEXT
    local row
    for row in "${CHECKS[@]}"; do
        printf '  %-12s  %s\n' "${row%%|*}" "${row#*|}"
    done
}

# --- the checks ---------------------------------------------------------------------------------------

check_format() {
    cargo fmt --all --check
}

check_clippy() {
    # --locked: a Cargo.lock that lags behind a Cargo.toml is a mistake too.
    cargo clippy --locked --workspace --all-targets --all-features -- -D warnings
}

check_docs() {
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --all-features
}

check_house() {
    cargo test --all-features --test house
}

check_tree() {
    cargo test --all-features --test tree -- --show-output
}

# sqlx needs a newer Rust than the rest of the library: without the features that bring it, and then with all.
check_msrv() {
    local features
    features=$(library '[.features | keys[] | select(. != "postgres" and . != "sqlite")] | join(",")')
    check_with "$(library '.rust_version')" --no-default-features --features "$features"
    check_with "$(library '.metadata.larder."rust-version-of-sqlx"')" --all-features
}

check_with() {
    local version=$1 toolchain
    shift
    toolchain=$(rustup toolchain list 2>/dev/null | grep -o -m 1 -E "^${version//./\\.}[^ ]*" || true)
    if [ -z "$toolchain" ]; then
        echo "SKIPPED: rustup has no Rust $version here (rustup toolchain install $version)."
        echo "What stands in for it: tests/tree on the dependencies, clippy::incompatible_msrv on our own code."
        note="${note:-skipped: no Rust} $version"
        return
    fi
    cargo "+$toolchain" check --package larder "$@"
}

check_deny() {
    # Not the advisories: they come over the network and change without any change here.
    cargo deny --locked --workspace check bans licenses sources
}

check_features() {
    local features feature
    features=$(library '.features | keys[]')
    cargo clippy --package larder --no-default-features -- -D warnings
    for feature in $features; do
        echo "# feature $feature"
        cargo clippy --package larder --no-default-features --features "$feature" -- -D warnings
    done
}

check_debug() {
    cargo test --workspace --all-features
}

# Those of which a cluster makes another matter; the build is that of the tests above.
check_deployments() {
    LARDER_TEST_REDIS=cluster33 redis_tests away batches below_memory coherence deploy envelope given_up local_ttl races \
        receipts round_trips secrets stream stream_promises stream_servers tenants tier
    LARDER_TEST_REDIS=cluster33 cargo test --workspace --all-features --test redis_stampede
    LARDER_TEST_PROTOCOL=resp3 redis_tests away batches envelope round_trips secrets stream tenants tier
}

# The tests of some behaviours on Redis; those of `x::` are in tests/redis/x.rs.
redis_tests() {
    # A name is found anywhere in a path: `away::` would bring `partly_away::` along, which brings clusters of its own.
    cargo test --workspace --all-features --test redis -- "${@/%/::}" --skip partly_away::
}

# Both debug and release, since optimising compilers have been wrong about correct code. Programs take minutes to optimise, and
# those are left out in which it hardly matters how they were built: explorers of pure steps, kills of whole processes, texts,
# `cache` with its dozens of types, and `redis`, in the place of which a stampede and memories in step have the tier at its
# hardest.
check_release() {
    LARDER_TEST_ROUNDS=30 LARDER_TEST_SECONDS=5 cargo test --release --package larder --all-features --lib \
        --test races --test write_behind --test redis_stampede --test in_step \
        --test hit_allocates_nothing --test copies_reuse_room --test future_size
}

# A build of its own, with other locks, in a folder of its own.
check_schedules() {
    RUSTFLAGS="--cfg shuttle" cargo test --release --package larder --features testing --lib --target-dir target/schedules schedules
}

check_examples() {
    local examples example
    examples=$(library '.targets[] | select(.kind == ["example"]) | "\(.name):\(."required-features" // [] | join(","))"')
    for example in $examples; do
        echo "# example ${example%%:*}"
        cargo run --package larder --example "${example%%:*}" --features "${example#*:}"
    done
}

check_blog() {
    cargo run --package blog -- --requests 300 --posts 200 --comments 2000
    cargo run --package blog -- --redis --requests 300 --posts 200 --comments 2000 --only v1,v2,v3
    refuses_a_wrong_flag blog
}

check_shortener() {
    cargo run --package url-shortener -- --links 500 --redirects 2000
    cargo run --package url-shortener -- --links 500 --redirects 2000 --redis --crash
    refuses_a_wrong_flag url-shortener
}

refuses_a_wrong_flag() {
    local said
    if said=$(cargo run --quiet --package "$1" -- --no-such-flag 2>&1); then
        die "$1 took a flag that it does not know"
    fi
    [[ $said == *--no-such-flag* ]] || die "$1 does not say which flag it refuses: $said"
}

# What jq makes of the library's part of `cargo metadata`.
library() {
    cargo metadata --locked --no-deps --format-version 1 | jq -r '.packages[] | select(.name == "larder") | '"$1"
}

# --- what must be there ---------------------------------------------------------------------------------

prepare() {
    command -v cargo >/dev/null || die "cargo is missing: install Rust with rustup, from https://rustup.rs"
    say_what_is_needed
    install_packages
    install_cargo_tools
    check_rust_version
}

say_what_is_needed() {
    local row package command why tool how
    echo "Needed; what is missing gets installed:"
    for row in "${PACKAGES[@]}"; do
        IFS='|' read -r package _ command why <<<"$row"
        printf '  %-8s %-38s %s\n' "$(present command -v "$command")" "$package" "$why"
    done
    for row in "${CARGO_TOOLS[@]}"; do
        IFS='|' read -r tool how why <<<"$row"
        needs_tool "$tool" || continue
        printf '  %-8s %-38s %s\n' "$(present cargo "$tool" --version)" "$how" "$why"
    done
}

present() {
    if "$@" >/dev/null 2>&1; then echo "present"; else echo "missing"; fi
}

# cargo-deny takes minutes to build: only for the check that uses it.
needs_tool() {
    [ "$1" != deny ] || is_chosen deny
}

install_packages() {
    local row package formula command packages="" formulas=""
    for row in "${PACKAGES[@]}"; do
        IFS='|' read -r package formula command _ <<<"$row"
        [ "$(present command -v "$command")" = present ] && continue
        packages="$packages $package"
        formulas="$formulas $formula"
    done
    [ -n "$packages" ] || return 0
    command -v apt-get >/dev/null || die "not a Debian: please install, with Homebrew:$formulas (or what has those names here)"
    [ "$install" = yes ] || die "missing, and --no-install was given: apt-get install$packages"
    as_root apt-get update
    # Unquoted: one word for each package.
    # shellcheck disable=SC2086
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends $packages
}

install_cargo_tools() {
    local row tool how
    for row in "${CARGO_TOOLS[@]}"; do
        IFS='|' read -r tool how _ <<<"$row"
        needs_tool "$tool" || continue
        [ "$(present cargo "$tool" --version)" = present ] && continue
        [ "$install" = yes ] || die "missing, and --no-install was given: $how"
        command -v "${how%% *}" >/dev/null || die "cargo $tool is missing, and no ${how%% *} to install it with: see https://rustup.rs"
        # Unquoted: a command and its arguments.
        $how
    done
}

check_rust_version() {
    local wanted have
    wanted=$(cargo metadata --locked --no-deps --format-version 1 | jq -r '.packages[].rust_version // empty' | sort -V | tail -n 1)
    have=$(rustc --version | cut -d ' ' -f 2)
    if [ "$(printf '%s\n%s\n' "$wanted" "$have" | sort -V | head -n 1)" != "$wanted" ]; then
        die "Rust $wanted or newer is needed for the whole workspace, this is $have: rustup update stable"
    fi
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "neither root nor sudo here: run as root: $*"
    fi
}

die() {
    echo "scripts/test.sh: $*" >&2
    exit 1
}

# --- running them -----------------------------------------------------------------------------------------

install=yes
quick=no
chosen=""
current=""  # the check under way
note=""     # what it has to say in the summary
started=0
summary=""
left_out=""

read_arguments() {
    local names="" row
    for row in "${CHECKS[@]}"; do
        names="$names ${row%%|*}"
    done
    while [ $# -gt 0 ]; do
        case "$1" in
            --help | -h) usage && exit 0 ;;
            --no-install) install=no ;;
            --quick) quick=yes ;;
            -*) die "unknown option $1; try --help" ;;
            *)
                [[ "$names " == *" $1 "* ]] || die "unknown check $1; the checks are:$names"
                chosen="$chosen $1"
                ;;
        esac
        shift
    done
    chosen=${chosen:-$names}
}

is_chosen() {
    [ "$quick" = no ] || [[ " $SLOW " != *" $1 "* ]] || return 1
    [[ " $chosen " == *" $1 "* ]]
}

# A failing check ends the script: no caller of it may test its result, as that would switch `set -e` off.
run() {
    current=$1
    note=""
    started=$SECONDS
    printf '\n=== %s ===\n' "$current"
    "$2"
    record "${note:-passed}"
    current=""
}

record() {
    summary+=$(printf '  %-12s %3d:%02d  %s' "$current" $(((SECONDS - started) / 60)) $(((SECONDS - started) % 60)) "$1")$'\n'
}

finish() {
    local status=$?
    [ -n "$current$summary" ] || return 0
    [ -z "$current" ] || record "FAILED"
    printf '\n=== summary ===\n%s' "$summary"
    if [ "$status" -ne 0 ]; then
        echo "FAILED: $current. Nothing after it was run."
    elif [ -n "$left_out" ]; then
        echo "Passed, but not everything was run; left out:$left_out."
    else
        echo "All checks passed."
    fi
}

main() {
    read_arguments "$@"
    trap finish EXIT
    run prepare prepare
    local row name
    for row in "${CHECKS[@]}"; do
        name=${row%%|*}
        if is_chosen "$name"; then
            run "$name" "check_$name"
        else
            left_out="$left_out $name"
        fi
    done
}

main "$@"
