# SPDX-License-Identifier: MIT OR Apache-2.0
# OP-TEE from Debian's source package, built as a partition for QEMU's machine.
# shellcheck shell=sh

# The status of need_optee when the archive does not deliver: tests that need OP-TEE are skipped by name.
optee_unavailable=3

# optee_flags [SUFFIX]: OP-TEE's make variables: those of `flags`, then those of `flags-WORD` for each WORD of SUFFIX, which
# has dashes between them.
optee_flags() {
    for optee_word in '' $(say "${1-}" | tr '-' ' '); do
        sed -e 's/#.*//' -e '/^[[:space:]]*$/d' "$root/tests/clients/optee/flags${optee_word:+-$optee_word}"
    done
}

# python_with_elftools: prints a python3 that has what OP-TEE's build imports; the system's is where Debian's packages are.
python_with_elftools() {
    for optee_python in python3 /usr/bin/python3; do
        "$optee_python" -c 'import elftools, cryptography' 2>/dev/null && printf '%s\n' "$optee_python" && return 0
    done
    return 1
}

# need_optee [SUFFIX]: leaves out/payloads/tee-raw.bin, or tee-raw-SUFFIX.bin, built with those flags. Answers optee_unavailable, and says why in optee_reason, when the archive
# cannot deliver the source.
need_optee() {
    optee_reason=
    optee_suffix=${1-}
    optee_key=$(optee_flags "$optee_suffix" | cksum | cut -d ' ' -f 1)
    for optee in "$cache"/optee/*-"$optee_key"; do
        [ -e "$optee/tee-raw.bin" ] && break
    done
    if [ ! -e "$optee/tee-raw.bin" ]; then
        private_sources optee "deb-src sid main" && optee_version=$(source_version optee optee-os) || {
            optee_reason="the package lists for OP-TEE's source could not be read"
            return "$optee_unavailable"
        }
        optee_source=$cache/src/optee-os-$optee_version
        [ -e "$optee_source/unpacked" ] || source_package optee optee-os "$optee_source" || {
            optee_reason="the archive did not deliver the source package optee-os $optee_version"
            return "$optee_unavailable"
        }
        touch "$optee_source/unpacked"
        optee=$cache/optee/$optee_version-$optee_key
        build_optee
    fi
    mkdir -p "$out/payloads"
    cp "$optee/tee-raw.bin" "$out/payloads/tee-raw${optee_suffix:+-$optee_suffix}.bin"
}

build_optee() {
    install_packages "building OP-TEE" gcc-aarch64-linux-gnu binutils-aarch64-linux-gnu make python3 \
        device-tree-compiler || die "what OP-TEE's build needs could not be installed"
    python_with_elftools >/dev/null || install_packages "OP-TEE's build scripts" python3-pyelftools python3-cryptography ||
        die "the Python modules that OP-TEE's build needs could not be installed"
    optee_python=$(python_with_elftools) || die "python3 finds no modules elftools and cryptography"
    step "building OP-TEE $optee_version (about a minute, kept in $optee)"
    rm -rf "$optee.build"
    # shellcheck disable=SC2046
    logged "$cache/log/optee.log" make -C "$optee_source" -j "$(nproc)" O="$optee.build" PYTHON3="$optee_python" \
        CROSS_COMPILE=aarch64-linux-gnu- CROSS_COMPILE64=aarch64-linux-gnu- CROSS_COMPILE_core=aarch64-linux-gnu- \
        CROSS_COMPILE_ta_arm64=aarch64-linux-gnu- $(optee_flags "$optee_suffix") all || die "OP-TEE did not build"
    mkdir -p "$optee"
    cp "$optee.build/core/tee-raw.bin" "$optee/" || die "OP-TEE's build left no tee-raw.bin"
    rm -rf "$optee.build"
}
