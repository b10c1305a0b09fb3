# SPDX-License-Identifier: MIT OR Apache-2.0
# Debian packages: installing what is missing, and reading other suites through a private apt state,
# which changes nothing in the system's own apt configuration.
# shellcheck shell=sh

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif have sudo; then
        sudo "$@"
    else
        die "installing needs root, and there is no sudo: run as root '$*'"
    fi
}

# debian_codename: prints "bookworm" and the like; fails elsewhere.
debian_codename() {
    [ -r /etc/os-release ] || return 1
    # shellcheck source=/dev/null
    (. /etc/os-release && [ "${ID:-}" = debian ] && [ -n "${VERSION_CODENAME:-}" ] && printf '%s\n' "$VERSION_CODENAME")
}

is_installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# retried COMMAND...: runs it up to three times, for downloads.
retried() {
    for retried_pause in 5 15 0; do
        "$@" && return 0
        [ "$retried_pause" -gt 0 ] || break
        warn "'$1' failed; trying again in $retried_pause s"
        sleep "$retried_pause"
    done
    return 1
}

# install_packages WHY PACKAGE...: installs those that are missing, from the suites the system already uses.
install_packages() {
    packages_why=$1
    shift
    packages_missing=
    for package in "$@"; do
        is_installed "$package" || packages_missing="$packages_missing $package"
    done
    [ -n "$packages_missing" ] || return 0
    have apt-get || die "$packages_why needs$packages_missing, and this system has no apt-get: install them by its own means"
    step "installing$packages_missing ($packages_why)"
    if ! retried_install "$packages_missing" 2>/dev/null; then
        refresh_packages || return 1
        retried retried_install "$packages_missing" || return 1
    fi
}

# refresh_packages: reads the system's package lists anew.
refresh_packages() { retried logged "$cache/log/apt-update.log" as_root apt-get -q -o DPkg::Lock::Timeout=600 update; }

retried_install() {
    # The argument is a list on purpose.
    # shellcheck disable=SC2086
    logged "$cache/log/apt-install.log" as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -q -y -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3 install --no-install-recommends $1
}

# debian_archive: the address of a Debian archive, as the system's own apt knows it.
debian_archive() {
    if [ -n "${BULKHEAD_DEBIAN_ARCHIVE:-}" ]; then
        printf '%s\n' "$BULKHEAD_DEBIAN_ARCHIVE"
        return 0
    fi
    archive_suite=$(debian_codename) || return 1
    # The first index of the release's own suite: not security, not another vendor's.
    # shellcheck disable=SC2016
    apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
        awk -v suite="$archive_suite" '$2 == suite && $3 == "main" { print $1; exit }' | grep .
}

# private_apt STATE ARGUMENT...: apt-get with the sources and lists of that private state.
private_apt() { private_tool apt-get "$@"; }

# private_tool TOOL STATE ARGUMENT...: one of apt's tools there. A state whose name ends in -arm64 has the packages of
# that architecture, whatever this machine is.
# A mirror whose lists are older than they say is taken: what they name is checked by its signature all the same.
private_tool() {
    private_name=$1
    private_state=$cache/apt/$2
    shift 2
    case $private_state in
    *-arm64) set -- -o APT::Architecture=arm64 -o APT::Architectures=arm64 "$@" ;;
    esac
    "$private_name" -q \
        -o Dir::Etc::SourceList="$private_state/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::State::Lists="$private_state/lists" -o Dir::Cache="$private_state/cache" \
        -o APT::Sandbox::User=root -o APT::Get::List-Cleanup=0 \
        -o Acquire::Check-Valid-Until=false -o Acquire::Retries=3 -o Acquire::Languages=none -o DPkg::Lock::Timeout=600 "$@"
}

# private_sources STATE LINE...: makes a private state whose sources are the lines, each "TYPE SUITE COMPONENT...", and
# reads its lists; lists younger than a day are kept.
private_sources() {
    sources_state=$1
    shift
    have apt-get || { warn "there is no apt-get here to read a Debian archive with"; return 1; }
    sources_archive=$(debian_archive) || {
        warn "no Debian archive is known here: set BULKHEAD_DEBIAN_ARCHIVE to the address of one"
        return 1
    }
    sources_options=
    sources_keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    [ -r "$sources_keyring" ] && sources_options="[signed-by=$sources_keyring] "
    sources_dir=$cache/apt/$sources_state
    mkdir -p "$sources_dir/lists/partial" "$sources_dir/cache/archives/partial"
    for sources_line in "$@"; do
        printf '%s %s%s %s\n' "${sources_line%% *}" "$sources_options" "$sources_archive" "${sources_line#* }"
    done >"$sources_dir/sources.list.new"
    if cmp -s "$sources_dir/sources.list.new" "$sources_dir/sources.list" &&
        [ -n "$(find "$sources_dir/read" -mtime -1 2>/dev/null)" ]; then
        return 0
    fi
    mv "$sources_dir/sources.list.new" "$sources_dir/sources.list"
    step "reading the package lists of: $*"
    retried logged "$cache/log/apt-$sources_state.log" private_apt "$sources_state" update -o APT::Update::Error-Mode=any || return 1
    touch "$sources_dir/read"
}

# source_version STATE PACKAGE: the newest version of a source package there.
source_version() {
    private_apt "$1" source --only-source --print-uris "$2" 2>/dev/null |
        sed -n "s/^'[^']*' \\([^ ]*\\)\\.dsc .*/\\1/p" | sed 's/^[^_]*_//' | head -n 1 | grep .
}

# source_package STATE PACKAGE DIRECTORY: downloads and unpacks a source package, patches applied, as DIRECTORY.
source_package() {
    install_packages "unpacking Debian source packages" dpkg-dev patch xz-utils || return 1
    mkdir -p "$cache/download"
    step "downloading the source package $2"
    (cd "$cache/download" &&
        retried logged "$cache/log/source-$2.log" private_apt "$1" source --only-source --download-only "$2") || return 1
    source_dsc=$(find "$cache/download" -name "$2_$(source_version "$1" "$2").dsc" | head -n 1)
    [ -n "$source_dsc" ] || { warn "the source package $2 did not arrive"; return 1; }
    rm -rf "$3"
    mkdir -p "$(dirname "$3")"
    logged "$cache/log/unpack-$2.log" dpkg-source --no-check -x "$source_dsc" "$3"
}

# binary_version STATE PACKAGE: the newest version of a binary package there.
binary_version() {
    private_tool apt-cache "$1" show --no-all-versions "$2" 2>/dev/null | sed -n 's/^Version: //p' | head -n 1 | grep .
}

# binary_package STATE PACKAGE DIRECTORY: downloads a binary package and unpacks it into DIRECTORY; installs nothing.
binary_package() {
    have dpkg-deb || { warn "there is no dpkg-deb here to unpack $2 with"; return 1; }
    binary_size=$(private_tool apt-cache "$1" show --no-all-versions "$2" 2>/dev/null | sed -n 's/^Size: //p' | head -n 1)
    step "downloading $2 ($((${binary_size:-0} / 1000)) kB)"
    binary_download=$cache/download/$2
    rm -rf "$binary_download"
    mkdir -p "$binary_download" "$3"
    (cd "$binary_download" && retried logged "$cache/log/binary-$2.log" private_apt "$1" download "$2") &&
        logged "$cache/log/unpack-$2.log" dpkg-deb -x "$binary_download"/*.deb "$3" || return 1
    rm -rf "$binary_download"
}

# private_apt_install STATE SUITE PACKAGE...: installs into the system from a private state, preferring SUITE.
private_apt_install() {
    install_state=$1
    install_suite=$2
    shift 2
    # sudo cannot run a shell function: hand it the options.
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y \
        -o Dir::Etc::SourceList="$cache/apt/$install_state/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::State::Lists="$cache/apt/$install_state/lists" -o Dir::Cache="$cache/apt/$install_state/cache" \
        -o APT::Sandbox::User=root -o Acquire::Retries=3 -o DPkg::Lock::Timeout=600 \
        -t "$install_suite" install --no-install-recommends "$@"
}
