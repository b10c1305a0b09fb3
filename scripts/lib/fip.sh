# SPDX-License-Identifier: MIT OR Apache-2.0
# A flash image out of a configuration directory, in about a second.
# shellcheck shell=sh

# On PLAT=qemu, BL1 is at the start of the flash and the FIP at 256 KiB.
flash_fip_block=64
flash_block_size=4096
# BL2 gives the SPMC manifest one page.
spmc_manifest_limit=4096
# BL2's room for a package.
package_limit=4194304

# make_flash CONFIG_DIR OUT_DIR BL32 BL33: leaves OUT_DIR/flash.bin. CONFIG_DIR holds spmc.dts, tb_fw_config.dts and
# sp_layout.json, in the form that TF-A's own Makefile takes as QEMU_TOS_FW_CONFIG_DTS, QEMU_TB_FW_CONFIG_DTS and
# SP_LAYOUT_FILE. BL33 may be empty: then it is not in the flash.
make_flash() {
    for flash_input in "$1/spmc.dts" "$1/tb_fw_config.dts" "$1/sp_layout.json" "$3" ${4:+"$4"}; do
        [ -r "$flash_input" ] || { warn "$flash_input is missing"; return 1; }
    done
    rm -rf "$2/fdts"
    rm -f "$2"/*.pkg "$2/flash.bin" "$2/fip.bin"
    mkdir -p "$2/fdts"
    logged "$2/fip.log" python3 "$tfa/sp_mk_generator.py" "$2/sp_gen.mk" "$1/sp_layout.json" "$2" tbbr "$2/sp_list_fragment.dts" &&
        logged "$2/fip.log" make -s -f "$root/scripts/lib/fip.mk" CONFIG="$1" OUT="$2" TFA="$tfa" BL32="$3" BL33="$4" \
            INCLUDE="$root/manifests/qemu-virt" || return 1
    flash_size=$(wc -c <"$2/fdts/spmc.dtb")
    if [ "$flash_size" -gt "$spmc_manifest_limit" ]; then
        warn "$1/spmc.dts makes $flash_size bytes; TF-A has room for $spmc_manifest_limit on this machine"
        return 1
    fi
    for flash_package in "$2"/*.pkg; do
        [ -e "$flash_package" ] || continue
        if [ "$(wc -c <"$flash_package")" -gt "$package_limit" ]; then
            warn "$flash_package is larger than $package_limit bytes, which is what TF-A's BL2 loads on this machine"
            return 1
        fi
    done
    cp "$tfa/bl1.bin" "$2/flash.bin"
    dd if="$2/fip.bin" of="$2/flash.bin" bs="$flash_block_size" seek="$flash_fip_block" conv=notrunc status=none
}

# make_package MANIFEST.dts NUMBER WORK_DIR IMAGE PACKAGE FORMAT: a partition package that no BL2 loads: `spkg`, as TF-A's
# Makefile would make it, or `list`, a transfer list. SPARE stands for NUMBER in the manifest.
make_package() {
    cpp -nostdinc -undef -x assembler-with-cpp -P -D SPARE="$2" "$1" >"$3/package.pre.dts" &&
        dtc -q -I dts -O dtb -o "$3/package.dtb" "$3/package.pre.dts" &&
        case $6 in
        spkg) python3 "$tfa/sptool.py" -i "$4:$3/package.dtb" --pm-offset 4096 --img-offset 16384 -o "$5" ;;
        list) python3 "$root/scripts/lib/transfer_list.py" "$3/package.dtb" "$4" "$5" ;;
        esac
}
