# SPDX-License-Identifier: MIT OR Apache-2.0
# What the test of KVM needs besides Linux: a kernel module for that kernel, built with Debian's headers, and a virtual
# machine monitor. (The guest is one of the payloads.)
# shellcheck shell=sh

# need_kvm PAGES: as need_linux, and sets kvm_headers to a directory with the headers of that very kernel.
need_kvm() {
    need_linux "$1" || return
    install_packages "building for Linux on arm64" gcc-aarch64-linux-gnu libc6-dev-arm64-cross || {
        linux_reason="gcc-aarch64-linux-gnu and libc6-dev-arm64-cross could not be installed"
        return "$linux_unavailable"
    }
    fetch_headers && return 0
    # Perhaps the archive has gone on to another kernel since this one was kept.
    rm -f "$cache/apt/$linux_state/read"
    linux_lists && kvm_newest=$(binary_version "$linux_state" "$linux_package") || return "$linux_unavailable"
    kvm_kept=$linux
    [ "$kvm_kept" != "$cache/linux/${linux_package}_$kvm_newest-$linux_key" ] && fetch_linux && fetch_headers ||
        return "$linux_unavailable"
    rm -rf "$kvm_kept"
}

# fetch_headers: downloads the headers of the kernel in $linux, unless they are there.
fetch_headers() {
    kvm_release=$(tr '\0' '\n' <"$linux/modules/ffa_module.ko" | sed -n 's/^vermagic=\([^ ]*\) .*/\1/p')
    kvm_headers=$linux/headers
    [ ! -e "$kvm_headers/complete" ] || return 0
    rm -rf "$kvm_headers"
    linux_lists || return 1
    kvm_packages=$(private_tool apt-cache "$linux_state" depends --recurse --important "linux-headers-$kvm_release" 2>/dev/null |
        grep '^linux-headers-')
    [ -n "$kvm_packages" ] || {
        linux_reason="the archive has no headers of Linux $kvm_release"
        return 1
    }
    for kvm_package in $kvm_packages; do
        binary_package "$linux_state" "$kvm_package" "$kvm_headers" || {
            linux_reason="the archive did not deliver $kvm_package"
            rm -rf "$kvm_headers"
            return 1
        }
    done
    touch "$kvm_headers/complete"
}

# kvm_compile OUT: compiles a file of tests/clients/kvm as Linux's own build would compile a part of the module, but for
# what depends on the compiler: stack protector and tracing.
kvm_compile() {
    set -- "$1" "$(basename "$1" .o)"
    # What one directory has of the headers was made for this configuration, the other has the sources.
    kvm_made=$kvm_headers/usr/src/linux-headers-$kvm_release
    kvm_sources=$(echo "$kvm_headers"/usr/src/linux-headers-*-common)
    "${kvm_prefix}gcc" -c -nostdinc \
        -I"$kvm_sources/arch/arm64/include" -I"$kvm_made/arch/arm64/include/generated" \
        -I"$kvm_sources/include" -I"$kvm_made/include" \
        -I"$kvm_sources/arch/arm64/include/uapi" -I"$kvm_made/arch/arm64/include/generated/uapi" \
        -I"$kvm_sources/include/uapi" -I"$kvm_made/include/generated/uapi" \
        -include "$kvm_sources/include/linux/compiler-version.h" -include "$kvm_sources/include/linux/kconfig.h" \
        -include "$kvm_sources/include/linux/compiler_types.h" \
        -D__KERNEL__ -DMODULE -DCC_USING_PATCHABLE_FUNCTION_ENTRY '-DARM64_ASM_ARCH="armv8.5-a"' \
        -DKBUILD_MODNAME='"bulkhead_messages"' -DKBUILD_MODFILE='"bulkhead_messages"' \
        -D__KBUILD_MODNAME=kmod_bulkhead_messages -DKBUILD_BASENAME="\"$2\"" \
        -std=gnu11 -fms-extensions -fshort-wchar -funsigned-char -fno-common -fno-PIE -fno-strict-aliasing \
        -fno-strict-overflow -fno-delete-null-pointer-checks -fno-stack-protector -fno-asynchronous-unwind-tables \
        -fno-unwind-tables -mgeneral-regs-only -mabi=lp64 -mbranch-protection=pac-ret+bti \
        -O2 -Wall -Wno-attributes -o "$1" "$root/tests/clients/kvm/$2.c"
}

# kvm_programs OUT_DIR: leaves OUT_DIR/bulkhead_messages.ko and OUT_DIR/monitor.
kvm_programs() {
    kvm_prefix=aarch64-linux-gnu-
    mkdir -p "$1"
    kvm_compile "$1/messages.o" && kvm_compile "$1/module.o" &&
        "${kvm_prefix}ld" -r -T "$kvm_made/arch/arm64/module.lds" --build-id=sha1 -o "$1/bulkhead_messages.ko" \
            "$1/messages.o" "$1/module.o" &&
        "${kvm_prefix}gcc" -O2 -Wall -Wextra -Werror -static -s -o "$1/monitor" "$root/tests/clients/kvm/monitor.c"
}

# kvm_initramfs OUT_DIR: leaves OUT_DIR/initramfs.cpio with all that the test needs.
kvm_initramfs() {
    logged "$1/kvm.log" kvm_programs "$1/kvm" &&
        linux_initramfs "$1" kvm "$1/kvm/bulkhead_messages.ko" "$1/kvm/monitor" "$out/payloads/kvm-guest.bin"
}
