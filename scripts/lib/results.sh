# SPDX-License-Identifier: MIT OR Apache-2.0
# Counting tests, and which of them a filter selects.
# shellcheck shell=sh

passed=0
failed=0
skipped=0
failures=
filter=

# selected NAME: the filter, if any, is part of the name.
selected() {
    case $1 in
    *"$filter"*) return 0 ;;
    *) return 1 ;;
    esac
}

record_pass() {
    passed=$((passed + 1))
    say "[test] $1 ... ok"
}

# record_failure NAME WHY
record_failure() {
    failed=$((failed + 1))
    failures="$failures
  $1"
    say "[test] $1 ... FAILED: $2"
}

# record_skip NAME WHY
record_skip() {
    skipped=$((skipped + 1))
    say "[test] $1 ... skipped: $2"
}

# checked NAME COMMAND...: one test that is a command; what it prints is shown when it fails.
checked() {
    selected "$1" || return 0
    checked_name=$1
    shift
    checked_log=$out/log/$checked_name.log
    mkdir -p "$out/log"
    if "$@" >"$checked_log" 2>&1 </dev/null; then
        record_pass "$checked_name"
    else
        checked_status=$?
        tail -n 40 "$checked_log"
        record_failure "$checked_name" "status $checked_status; all of it in $checked_log"
    fi
}

# total: the closing line; fails if a test did.
total() {
    [ -z "$failures" ] || say "failed:$failures"
    say "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" -eq 0 ]
}
