# SPDX-License-Identifier: MIT OR Apache-2.0
# Kernel modules of tests, for the Linux that boots, built with Debian's headers of that very kernel.
# shellcheck shell=sh

# need_linux_modules PAGES: as need_linux, and sets linux_headers to a directory with the headers of that very kernel.
need_linux_modules() {
    need_linux "$1" || return
    install_packages "building for Linux on arm64" gcc-aarch64-linux-gnu libc6-dev-arm64-cross || {
        linux_reason="gcc-aarch64-linux-gnu and libc6-dev-arm64-cross could not be installed"
        return "$linux_unavailable"
    }
    fetch_headers && return 0
    # Perhaps the archive has gone on to another kernel since this one was kept.
    rm -f "$cache/apt/$linux_state/read"
    linux_lists && module_newest=$(binary_version "$linux_state" "$linux_package") || return "$linux_unavailable"
    module_kept=$linux
    [ "$module_kept" != "$cache/linux/${linux_package}_$module_newest-$linux_key" ] && fetch_linux && fetch_headers ||
        return "$linux_unavailable"
    rm -rf "$module_kept"
}

# fetch_headers: downloads the headers of the kernel in $linux, unless they are there.
fetch_headers() {
    linux_release=$(tr '\0' '\n' <"$linux/modules/ffa_module.ko" | sed -n 's/^vermagic=\([^ ]*\) .*/\1/p')
    linux_headers=$linux/headers
    [ ! -e "$linux_headers/complete" ] || return 0
    rm -rf "$linux_headers"
    linux_lists || return 1
    header_packages=$(private_tool apt-cache "$linux_state" depends --recurse --important "linux-headers-$linux_release" 2>/dev/null |
        grep '^linux-headers-')
    [ -n "$header_packages" ] || {
        linux_reason="the archive has no headers of Linux $linux_release"
        return 1
    }
    for header_package in $header_packages; do
        binary_package "$linux_state" "$header_package" "$linux_headers" || {
            linux_reason="the archive did not deliver $header_package"
            rm -rf "$linux_headers"
            return 1
        }
    done
    touch "$linux_headers/complete"
}

# module_compile NAME SOURCE OUT: compiles SOURCE as Linux's own build would compile a part of the module NAME, but for
# what depends on the compiler: stack protector and tracing.
module_compile() {
    # What one directory has of the headers was made for this configuration, the other has the sources.
    module_made=$linux_headers/usr/src/linux-headers-$linux_release
    module_sources=$(echo "$linux_headers"/usr/src/linux-headers-*-common)
    aarch64-linux-gnu-gcc -c -nostdinc \
        -I"$module_sources/arch/arm64/include" -I"$module_made/arch/arm64/include/generated" \
        -I"$module_sources/include" -I"$module_made/include" \
        -I"$module_sources/arch/arm64/include/uapi" -I"$module_made/arch/arm64/include/generated/uapi" \
        -I"$module_sources/include/uapi" -I"$module_made/include/generated/uapi" \
        -include "$module_sources/include/linux/compiler-version.h" -include "$module_sources/include/linux/kconfig.h" \
        -include "$module_sources/include/linux/compiler_types.h" \
        -D__KERNEL__ -DMODULE -DCC_USING_PATCHABLE_FUNCTION_ENTRY '-DARM64_ASM_ARCH="armv8.5-a"' \
        -DKBUILD_MODNAME="\"$1\"" -DKBUILD_MODFILE="\"$1\"" -D__KBUILD_MODNAME="kmod_$1" \
        -DKBUILD_BASENAME="\"$(basename "$2" .c)\"" \
        -std=gnu11 -fms-extensions -fshort-wchar -funsigned-char -fno-common -fno-PIE -fno-strict-aliasing \
        -fno-strict-overflow -fno-delete-null-pointer-checks -fno-stack-protector -fno-asynchronous-unwind-tables \
        -fno-unwind-tables -mgeneral-regs-only -mabi=lp64 -mbranch-protection=pac-ret+bti \
        -O2 -Wall -Wno-attributes -o "$3" "$2"
}

# linux_module NAME SOURCE OUT_DIR: leaves OUT_DIR/NAME.ko.
linux_module() {
    mkdir -p "$3"
    module_compile "$1" "$2" "$3/$1.part.o" &&
        module_compile "$1" "$root/tests/clients/linux/module.c" "$3/$1.module.o" &&
        aarch64-linux-gnu-ld -r -T "$module_made/arch/arm64/module.lds" --build-id=sha1 -o "$3/$1.ko" \
            "$3/$1.part.o" "$3/$1.module.o"
}

# linux_test_modules OUT_DIR: leaves the modules of tests/clients/linux there.
linux_test_modules() {
    linux_module bulkhead_notify "$root/tests/clients/linux/notify.c" "$1" &&
        linux_module bulkhead_ticks "$root/tests/clients/linux/ticks.c" "$1"
}

# modules_initramfs OUT_DIR: leaves OUT_DIR/initramfs.cpio with the modules of tests/clients/linux.
modules_initramfs() {
    logged "$1/module.log" linux_test_modules "$1/module" &&
        linux_initramfs "$1" linux "$1/module/bulkhead_notify.ko" "$1/module/bulkhead_ticks.ko"
}
