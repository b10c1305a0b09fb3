# SPDX-License-Identifier: MIT OR Apache-2.0
# The Rust toolchain for the target, and building with it.
# shellcheck shell=sh

# Soft-float: EL3 may trap floating point at S-EL2, and the hard-float target uses SIMD registers on its own.
firmware_target=aarch64-unknown-none-softfloat

wanted_rust() { sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml"; }

rust_version() { "$1" --version 2>/dev/null | sed -n 's/^[^ ]* \([0-9.]*\).*/\1/p'; }

# rustc_has_target: the rustc on PATH is new enough and has the target's core library.
rustc_has_target() {
    have cargo && have rustc && version_at_least "$(rust_version rustc)" "$(wanted_rust)" || return 1
    target_libraries=$(rustc --print target-libdir --target "$firmware_target" 2>/dev/null) || return 1
    [ -n "$(find "$target_libraries" -name 'libcore-*.rlib' 2>/dev/null)" ]
}

need_rustup_target() {
    rustc_has_target && return 0
    have rustup && have cargo || return 1
    if ! version_at_least "$(rust_version rustc)" "$(wanted_rust)"; then
        warn "rustup's active toolchain is rustc $(rust_version rustc), and Bulkhead needs $(wanted_rust) or newer"
        return 1
    fi
    step "adding rustup's target $firmware_target (the core library for the firmware)"
    logged "$cache/log/rustup.log" rustup target add "$firmware_target" && rustc_has_target
}

# What Debian's toolchain is made of: the compiler, its library's source, a linker, and what cargo checks the registry by.
debian_toolchain="rustc-web cargo-web rust-web-src lld ca-certificates"

debian_rust_is_new_enough() { version_at_least "$(rust_version /usr/bin/rustc)" "$(wanted_rust)"; }

need_debian_toolchain() {
    debian_codename >/dev/null || return 1
    # shellcheck disable=SC2086
    install_packages "Debian's Rust compiler, its library's source and a linker" $debian_toolchain || return 1
    debian_rust_is_new_enough && return 0
    step "upgrading $debian_toolchain (rustc $(rust_version /usr/bin/rustc) is too old)"
    refresh_packages && retried_install "$debian_toolchain" && debian_rust_is_new_enough && return 0
    warn "Debian's rustc-web is $(rust_version /usr/bin/rustc), and Bulkhead needs $(wanted_rust) or newer: is the release's security suite among apt's sources?"
    return 1
}

# need_toolchain: sets toolchain to rustup (a rustc on PATH with a prebuilt core library) or debian (Debian's rustc-web,
# which builds the core library itself). BULKHEAD_TOOLCHAIN forces one.
need_toolchain() {
    [ -z "${toolchain:-}" ] || return 0
    case ${BULKHEAD_TOOLCHAIN:-} in
    rustup) need_rustup_target && toolchain=rustup ;;
    debian) need_debian_toolchain && toolchain=debian ;;
    '')
        if need_rustup_target; then
            toolchain=rustup
        elif need_debian_toolchain; then
            toolchain=debian
        fi
        ;;
    *) die "BULKHEAD_TOOLCHAIN is '$BULKHEAD_TOOLCHAIN'; it may be rustup or debian" ;;
    esac
    case ${toolchain:-} in
    rustup) step "toolchain: $(rustc --version), with its prebuilt core library for $firmware_target" ;;
    debian) step "toolchain: Debian's $(/usr/bin/rustc --version), building the core library for $firmware_target" ;;
    *) die "no Rust toolchain for $firmware_target: rustup could not add it, and Debian's rustc-web is not there or too old" ;;
    esac
}

# firmware_cargo COMMAND ARGUMENT...: cargo for the target.
firmware_cargo() {
    need_toolchain
    firmware_command=$1
    shift
    if [ "$toolchain" = rustup ]; then
        (cd "$root" && cargo "$firmware_command" --target "$firmware_target" "$@")
    else
        # The library is built from source with a stable compiler, which wants this variable.
        (cd "$root" && RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc CARGO_TARGET_AARCH64_UNKNOWN_NONE_SOFTFLOAT_LINKER=ld.lld \
            CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$root/target}/debian" /usr/bin/cargo "$firmware_command" \
            -Zbuild-std=core,alloc -Zbuild-std-features=compiler-builtins-mem --target "$firmware_target" "$@")
    fi
}

# host_cargo COMMAND ARGUMENT...: cargo for the build machine.
host_cargo() {
    need_toolchain
    if [ "$toolchain" = rustup ]; then
        (cd "$root" && cargo "$@")
    else
        (cd "$root" && RUSTC=/usr/bin/rustc CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$root/target}/debian" /usr/bin/cargo "$@")
    fi
}

# need_cargo_tool TOOL: cargo's fmt or clippy; not every toolchain can have both.
need_cargo_tool() {
    if [ "$toolchain" = rustup ]; then
        case $1 in
        fmt) tool_component=rustfmt ;;
        *) tool_component=$1 ;;
        esac
        (cd "$root" && cargo "$1" --version) >/dev/null 2>&1 ||
            { have rustup && logged "$cache/log/rustup.log" rustup component add "$tool_component"; }
    else
        [ -x "/usr/bin/cargo-$1" ] || { [ "$1" = fmt ] && install_packages "the check of the formatting" rustfmt-web && [ -x /usr/bin/cargo-fmt ]; }
    fi
}

# need_binutils: sets binutils to the prefix of objcopy, objdump, readelf and as for aarch64.
need_binutils() {
    binutils=aarch64-linux-gnu-
    have "${binutils}objcopy" || install_packages "reading and converting aarch64 images" binutils-aarch64-linux-gnu ||
        die "binutils for aarch64 (${binutils}objcopy) could not be installed"
}

# executables COMMAND...: runs a cargo command that prints JSON, and prints the executables it made.
executables() {
    executables_json=$out/log/cargo.json
    mkdir -p "$out/log"
    "$@" --message-format=json-render-diagnostics >"$executables_json" || return 1
    sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' "$executables_json"
}

# build_board BOARD PROFILE: leaves bulkhead.elf and bulkhead.bin in out/BOARD (release) or out/BOARD-debug (debug).
build_board() {
    need_toolchain
    need_binutils
    board_out=$out/$1
    board_release=--release
    [ "$2" = release ] || {
        board_out=$out/$1-$2
        board_release=
    }
    [ -d "$root/platform/$1" ] || die "there is no board '$1': see platform/"
    step "building Bulkhead for $1 ($2)"
    # shellcheck disable=SC2086
    board_elf=$(executables firmware_cargo build -p "bulkhead-$1" $board_release) || die "Bulkhead did not build for $1 ($2)"
    [ -n "$board_elf" ] || die "the package bulkhead-$1 has no executable"
    mkdir -p "$board_out"
    cp "$board_elf" "$board_out/bulkhead.elf" &&
        "${binutils}objcopy" -O binary "$board_out/bulkhead.elf" "$board_out/bulkhead.bin" ||
        die "the image of $1 could not be converted"
}

# build_payloads: every test partition, the normal world's test program and KVM's guest as out/payloads/NAME.bin.
build_payloads() {
    need_toolchain
    need_binutils
    step "building the partitions and the normal world's program"
    payload_elves=$(executables firmware_cargo build --release -p bulkhead-test-partitions -p bulkhead-test-nwd \
        -p bulkhead-test-kvm-guest) ||
        die "the payloads did not build"
    mkdir -p "$out/payloads"
    for payload_elf in $payload_elves; do
        "${binutils}objcopy" -O binary "$payload_elf" "$out/payloads/$(basename "$payload_elf").bin" ||
            die "$payload_elf could not be converted"
    done
}
