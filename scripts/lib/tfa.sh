# SPDX-License-Identifier: MIT OR Apache-2.0
# TF-A: its source from Debian, and one build of BL1, BL2, BL31 and its tools for each set of flags. None of them depends
# on what the FIP holds, so a configuration never rebuilds them (lib/fip.sh puts the FIP together).
# shellcheck shell=sh

tfa_flags_file=$root/tf-a-integration/qemu-virt/flags

# tfa_flags [VARIANT]: the flags of a build; a variant has more of them, in a file of its own.
tfa_flags() { sed -e 's/#.*//' -e '/^[[:space:]]*$/d' "$tfa_flags_file" ${1:+"$tfa_flags_file-$1"}; }

# need_device_trees: the compilers of device trees and of their includes.
need_device_trees() {
    { have dtc && have cpp && have make; } || install_packages "device trees and packages" device-tree-compiler cpp make ||
        die "the device-tree compiler could not be installed"
}

# need_tfa [VARIANT]: sets tfa to a directory with bl1.bin, bl2.bin, bl31.bin, fiptool, sptool.py and
# sp_mk_generator.py.
need_tfa() {
    tfa_variant=${1:-}
    have python3 || install_packages "TF-A's packaging of partitions" python3 || die "python3 could not be installed"
    # A build that is there is taken without asking any archive; the key says which flags it was made with.
    tfa_key=$(tfa_flags "$tfa_variant" | cksum | cut -d ' ' -f 1)
    for tfa in "$cache"/tfa/*-"$tfa_key"; do
        [ -e "$tfa/complete" ] && return 0
    done
    if [ -n "${BULKHEAD_TFA_SOURCE:-}" ]; then
        tfa_source=$BULKHEAD_TFA_SOURCE
        tfa_version=given
    else
        private_sources tfa "deb-src trixie main" || die "the package lists for TF-A's source could not be read"
        tfa_version=$(source_version tfa arm-trusted-firmware) || die "the archive offers no source package of TF-A"
        tfa_source=$cache/src/tfa-$tfa_version
        [ -e "$tfa_source/unpacked" ] || source_package tfa arm-trusted-firmware "$tfa_source" ||
            die "TF-A's source package could not be downloaded"
        touch "$tfa_source/unpacked"
    fi
    tfa=$cache/tfa/$tfa_version-$tfa_key
    build_tfa
}

build_tfa() {
    install_packages "building TF-A and its tools" \
        gcc libc6-dev make libssl-dev device-tree-compiler gcc-aarch64-linux-gnu binutils-aarch64-linux-gnu ||
        die "what TF-A's build needs could not be installed"
    step "building TF-A $tfa_version${tfa_variant:+ for $tfa_variant} (BL1, BL2, BL31 and fiptool; about half a minute, kept in $tfa)"
    tfa_build=$tfa.build
    rm -rf "$tfa_build" "$tfa"
    # TF-A's rule for sp_gen.mk fails when the directory is not there yet.
    mkdir -p "$tfa_build/qemu/release" "$tfa"
    # TF-A asks for a layout file with an SPMC at S-EL2; one without partitions will do for what is built here.
    printf '{}\n' >"$tfa_build/sp_layout.json"
    # shellcheck disable=SC2046
    logged "$cache/log/tfa.log" make -C "$tfa_source" -j "$(nproc)" CROSS_COMPILE=aarch64-linux-gnu- \
        BUILD_BASE="$tfa_build" $(tfa_flags "$tfa_variant") SP_LAYOUT_FILE="$tfa_build/sp_layout.json" bl1 bl2 bl31 fiptool ||
        die "TF-A did not build"
    for image in bl1 bl2 bl31; do
        cp "$tfa_build/qemu/release/$image.bin" "$tfa/" || die "TF-A's build left no $image.bin"
    done
    cp "$tfa_source/tools/fiptool/fiptool" "$tfa_source"/tools/sptool/*.py "$tfa/" || die "TF-A's build left no fiptool"
    rm -rf "$tfa_build"
    touch "$tfa/complete"
}
