# SPDX-License-Identifier: MIT OR Apache-2.0
# What the scripts tell their user, and where they keep things.
# Sourced by every script, after it set `root` to the top of the working tree.
# shellcheck shell=sh

: "${root:?the script that reads this file sets root}"

# Downloads and builds that outlive a clean clone.
cache=${BULKHEAD_CACHE:-${XDG_CACHE_HOME:-${HOME:?HOME is not set}/.cache}/bulkhead}
# What the scripts leave in the working tree; never committed.
out=$root/out

say() { printf '%s\n' "$*"; }

# Progress goes to standard error, so that functions can answer on standard output.
step() { printf '==> %s\n' "$*" >&2; }

warn() { printf 'warning: %s\n' "$*" >&2; }

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# logged LOG COMMAND...: runs a long command, keeps what it prints in LOG, and shows the end of it only on failure.
logged() {
    logged_file=$1
    shift
    mkdir -p "$(dirname "$logged_file")"
    "$@" >"$logged_file" 2>&1 && return 0
    logged_status=$?
    warn "'$1' failed with status $logged_status; the end of $logged_file:"
    tail -n 25 "$logged_file" >&2
    return "$logged_status"
}

# version_at_least HAVE WANT: compares dotted versions.
version_at_least() {
    [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}

# usage: prints the comment block at the head of the calling script, which is its --help.
usage() { sed -n '3,/^[^#]/{/^#/{s/^# \{0,1\}//;p;};}' "$0"; }
