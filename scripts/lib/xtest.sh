# SPDX-License-Identifier: MIT OR Apache-2.0
# OP-TEE's own test suite from Debian's packages, unmodified: xtest, its trusted applications, the supplicant, and the
# libraries that they need; and a program of ours that shares memory with OP-TEE. Nothing is installed.
# shellcheck shell=sh

# The status of need_xtest when the archive does not deliver: tests that need it are skipped by name.
xtest_unavailable=3

# need_xtest: sets xtest to a directory with `usr`, for the initramfs. Answers xtest_unavailable, and says why in
# xtest_reason, when the archive cannot deliver it.
need_xtest() {
    xtest_reason=
    install_packages "building for Linux on arm64" gcc-aarch64-linux-gnu libc6-dev-arm64-cross || {
        xtest_reason="gcc-aarch64-linux-gnu and libc6-dev-arm64-cross could not be installed"
        return "$xtest_unavailable"
    }
    for xtest in "$cache"/xtest/*; do
        [ -e "$xtest/complete" ] && return 0
    done
    linux_lists && fetch_xtest && return 0
    xtest_reason=${xtest_reason:-$linux_reason}
    [ -e "$cache/apt/$linux_state/read" ] || return "$xtest_unavailable"
    # A suite moves on while its lists are up to a day old: once more with new ones.
    rm "$cache/apt/$linux_state/read"
    linux_lists && fetch_xtest || return "$xtest_unavailable"
}

# fetch_xtest: downloads the packages, and leaves what an initramfs needs of them in $xtest.
fetch_xtest() {
    xtest_version=$(binary_version "$linux_state" optee-test-qemu) || {
        xtest_reason="the archive has no package optee-test-qemu"
        return 1
    }
    xtest=$cache/xtest/$xtest_version
    rm -rf "$xtest"
    # Of what the C library brings along, not its character sets.
    for xtest_package in $(private_tool apt-cache "$linux_state" depends --recurse --important optee-test-qemu tee-supplicant |
        grep -E '^(optee-test-qemu|tee-supplicant|zlib1g|lib[^ ]*)$' | grep -v gconv); do
        binary_package "$linux_state" "$xtest_package" "$xtest" || {
            xtest_reason="the archive did not deliver $xtest_package"
            rm -rf "$xtest"
            return 1
        }
    done
    (cd "$xtest/usr" && rm -rf share lib/systemd lib/aarch64-linux-gnu/gconv lib/aarch64-linux-gnu/engines-* \
        lib/aarch64-linux-gnu/ossl-modules)
    # Every trusted application of the suite's is signed with the key of OP-TEE's source, which our build has, too.
    [ -x "$xtest/usr/bin/xtest" ] && [ -x "$xtest/usr/sbin/tee-supplicant" ] &&
        ls "$xtest"/usr/lib/optee_armtz/*.ta >/dev/null 2>&1 || {
        xtest_reason="there is no xtest, no tee-supplicant or no trusted application in optee-test-qemu $xtest_version"
        return 1
    }
    touch "$xtest/complete"
}

# sharer OUT: builds the program that shares memory with OP-TEE.
sharer() {
    aarch64-linux-gnu-gcc -O2 -march=armv8-a+crypto -Wall -Wextra -Werror -static -s -pthread -o "$1" \
        "$root/tests/clients/xtest/sharer.c"
}

# xtest_initramfs OUT_DIR: leaves OUT_DIR/initramfs.cpio with all that the test needs.
xtest_initramfs() {
    logged "$1/sharer.log" sharer "$1/sharer" && linux_initramfs "$1" xtest "$1/sharer" "$xtest/usr"
}
