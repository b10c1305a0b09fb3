# SPDX-License-Identifier: MIT OR Apache-2.0
# Linux from Debian's packages, unmodified: a kernel, its FF-A driver, and busybox in an initramfs. Nothing is installed.
# shellcheck shell=sh

# The status of need_linux when the archive does not deliver: tests that need Linux are skipped by name.
linux_unavailable=3

# Where things lie in the normal world's memory: the kernel where TF-A enters it (tf-a-integration/qemu-virt/flags-linux),
# and the initramfs, behind the kernel and all that it reserves for itself.
linux_kernel_address=0x41000000
linux_initramfs_address=0x48000000

# Of every Linux that boots here: its console, no waiting for a reboot after a crash, and where its initramfs lies.
linux_command_line="console=ttyAMA0 panic=-1"

linux_state="linux-arm64"
# The kernel's pages: 4k or 16k.
linux_pages=4k

linux_modules() { sed -e 's/#.*//' -e '/^[[:space:]]*$/d' "$root/tests/clients/linux/modules"; }

# need_linux PAGES: sets linux to a directory with Image, config, busybox and modules, of Debian's newest kernel with 4k
# or 16k pages. Answers linux_unavailable, and says why in linux_reason, when the archive cannot deliver
# them or what it delivers has no FF-A.
need_linux() {
    linux_reason=
    linux_package="linux-image-arm64"
    [ "$1" = 4k ] || linux_package=$linux_package-$1
    have cpio || install_packages "the initramfs of Linux" cpio || {
        linux_reason="cpio could not be installed"
        return "$linux_unavailable"
    }
    # One that is there is taken without asking any archive; the key says which modules it has.
    linux_key=$(linux_modules | cksum | cut -d ' ' -f 1)
    for linux in "$cache/linux/${linux_package}_"*"-$linux_key"; do
        [ -e "$linux/complete" ] && return 0
    done
    linux_lists && fetch_linux && return 0
    [ -e "$cache/apt/$linux_state/read" ] || return "$linux_unavailable"
    # A suite moves on while its lists are up to a day old: once more with new ones.
    rm "$cache/apt/$linux_state/read"
    linux_lists && fetch_linux || return "$linux_unavailable"
}

linux_lists() {
    private_sources "$linux_state" "deb sid main" || {
        linux_reason="the package lists for Linux could not be read"
        return 1
    }
}

# fetch_linux: downloads the packages, and leaves what a boot needs in $linux.
fetch_linux() {
    linux_version=$(binary_version "$linux_state" "$linux_package") || {
        linux_reason="the archive has no package $linux_package"
        return 1
    }
    linux=$cache/linux/${linux_package}_$linux_version-$linux_key
    linux_unpacked=$linux.unpacked
    rm -rf "$linux" "$linux_unpacked"
    # The package of that name is empty; the kernel, its configuration and its modules are among what it depends on.
    linux_packages=$(private_tool apt-cache "$linux_state" depends --recurse --important "$linux_package" |
        grep -E '^linux-(image|binary|modules|base)-')
    for linux_part in $linux_packages busybox-static; do
        binary_package "$linux_state" "$linux_part" "$linux_unpacked" || {
            linux_reason="the archive did not deliver $linux_part"
            rm -rf "$linux_unpacked"
            return 1
        }
    done
    linux_status=0
    gather_linux || linux_status=1
    rm -rf "$linux_unpacked"
    [ "$linux_status" -eq 0 ] || return 1
    touch "$linux/complete"
}

# linux_file NAME...: the first file of one of these names (patterns) among what was unpacked.
linux_file() {
    for linux_name in "$@"; do
        find "$linux_unpacked" -type f -name "$linux_name" | sort | head -n 1
    done | grep -m 1 .
}

# gather_linux: takes out of the unpacked packages what a boot needs.
gather_linux() {
    mkdir -p "$linux/modules"
    linux_vmlinuz=$(linux_file 'vmlinuz' 'vmlinuz-*') && linux_config=$(linux_file config 'config-*') &&
        linux_busybox=$(linux_file busybox) || {
        linux_reason="there is no kernel, no configuration or no busybox in $linux_package $linux_version"
        return 1
    }
    for linux_option in CONFIG_ARM_FFA_TRANSPORT CONFIG_ARM_FFA_SMCCC; do
        grep -qE "^$linux_option=[ym]" "$linux_config" || {
            linux_reason="$linux_package $linux_version is built without $linux_option"
            return 1
        }
    done
    # Magic number of an arm64 kernel image at byte 56; a compressed one lacks it.
    [ "$(dd if="$linux_vmlinuz" bs=1 skip=56 count=4 status=none)" = ARMd ] || {
        linux_reason="the kernel of $linux_package $linux_version is no plain image"
        return 1
    }
    # Its size in memory, in bytes, is the 64-bit word at byte 16; none has four GiB.
    linux_end=$(($(od -An -tu4 -j16 -N4 "$linux_vmlinuz") + linux_kernel_address))
    [ "$linux_end" -le $((linux_initramfs_address)) ] || {
        linux_reason="the kernel of $linux_package $linux_version needs memory up to $linux_end, where the initramfs lies"
        return 1
    }
    cp "$linux_vmlinuz" "$linux/Image" && cp "$linux_config" "$linux/config" && cp "$linux_busybox" "$linux/busybox" || return 1
    for linux_module in $(linux_modules); do
        # A driver that is built in is no module.
        if grep -qE "/$(module_pattern "$linux_module")\.ko$" "$(linux_file modules.builtin)"; then
            : >"$linux/order"
        else
            module_closure "$linux_module" >"$linux/order" || {
                linux_reason="$linux_package $linux_version has no module $linux_module, or not what that needs"
                return 1
            }
        fi
        awk '!seen[$0]++' "$linux/order" >"$linux/modules/order-$linux_module"
    done
    rm "$linux/order"
}

# module_pattern NAME: the name of a module as a pattern: - and _ are the same.
module_pattern() { printf '%s\n' "$1" | sed 's/[-_]/[-_]/g'; }

# module_closure NAME: puts a module and all that it depends on, uncompressed, into $linux/modules, and prints the files'
# names in the order in which they can be loaded. Debian's packages have no modules.dep: that is made at installation.
module_closure() (
    module_file=$(linux_file "$(module_pattern "$1").ko" "$(module_pattern "$1").ko.xz" "$(module_pattern "$1").ko.zst" \
        "$(module_pattern "$1").ko.gz") || exit 1
    module_name=$1.ko
    case $module_file in
    *.xz) xz -dc "$module_file" ;;
    *.zst) zstd -dcq "$module_file" ;;
    *.gz) gzip -dc "$module_file" ;;
    *) cat "$module_file" ;;
    esac >"$linux/modules/$module_name" || exit 1
    for module_needs in $(tr '\0' '\n' <"$linux/modules/$module_name" | sed -n 's/^depends=//p' | tr ',-' ' _'); do
        module_closure "$module_needs" || exit 1
    done
    printf '%s\n' "$module_name"
)

# linux_expected DIRECTORY: what Linux has to list: a line `ID UUID NAME` for each UUID of each partition manifest among
# the device tree blobs there.
linux_expected() {
    for expected_blob in "$1"/*.dtb; do
        case $(fdtget -t s "$expected_blob" / compatible 2>/dev/null) in
        arm,ffa-manifest-*) ;;
        *) continue ;;
        esac
        expected_id=$(fdtget -t x "$expected_blob" / id) && expected_name=$(fdtget -t s "$expected_blob" / description) || return 1
        if expected_nodes=$(fdtget -l "$expected_blob" /services 2>/dev/null); then
            for expected_node in $expected_nodes; do
                fdtget -t s "$expected_blob" "/services/$expected_node" uuid
            done
        else
            # Four words a UUID, each with its bytes reversed.
            fdtget -t x "$expected_blob" / uuid | tr -s ' ' '\n' |
                awk '{ w = sprintf("%8s", $1); gsub(" ", "0", w)
                    text = text substr(w, 7, 2) substr(w, 5, 2) substr(w, 3, 2) substr(w, 1, 2) }
                    NR % 4 == 0 { print text; text = "" }' |
                sed 's/^\(.\{8\}\)\(.\{4\}\)\(.\{4\}\)\(.\{4\}\)/\1-\2-\3-\4-/'
        fi | sed "s/^\(.*\)$/$expected_id \1 $expected_name/"
    done
}

# linux_initramfs OUT_DIR CLIENT [FILE...]: leaves OUT_DIR/initramfs.cpio: busybox, the modules, the test of
# tests/clients/CLIENT, the files and directories it needs, and what it expects of the partitions whose manifests lie in OUT_DIR/fdts.
linux_initramfs() {
    initramfs_root=$1/initramfs
    initramfs_out=$1
    initramfs_init=$root/tests/clients/$2/init
    shift 2
    rm -rf "$initramfs_root" "$initramfs_out/initramfs.cpio"
    mkdir -p "$initramfs_root/bin" "$initramfs_root/proc" "$initramfs_root/sys"
    linux_expected "$initramfs_out/fdts" >"$initramfs_root/expected" && [ -s "$initramfs_root/expected" ] ||
        { warn "no manifest in $initramfs_out/fdts says what Linux has to list"; return 1; }
    cp "$linux/busybox" "$initramfs_root/bin/busybox" &&
        cp -R "$linux/modules" "$initramfs_root/modules" &&
        cp "$initramfs_init" "$initramfs_root/init" || return 1
    [ $# -eq 0 ] || cp -R "$@" "$initramfs_root/" || return 1
    chmod 755 "$initramfs_root/bin/busybox" "$initramfs_root/init"
    (cd "$initramfs_root" && find . | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0) >"$initramfs_out/initramfs.cpio"
}

# linux_boot OUT_DIR CPU MTE CORES COMMAND [ARGUMENT...]: boots OUT_DIR/flash.bin with Linux as the normal world, whose
# command line COMMAND adds to. QEMU writes the command line into the device tree only if it is told of a kernel, too.
linux_boot() {
    linux_out=$1
    linux_cpu=$2
    linux_mte=$3
    linux_cores=$4
    linux_words=$5
    shift 5
    linux_words="$linux_command_line initrd=$linux_initramfs_address,$(wc -c <"$linux_out/initramfs.cpio") $linux_words"
    qemu_boot "$linux_out/flash.bin" "$linux_out/boot" "$boot_timeout_seconds" "$linux_cpu" "$linux_mte" "$linux_cores" \
        -device "loader,file=$linux/Image,addr=$linux_kernel_address,force-raw=on" \
        -device "loader,file=$linux_out/initramfs.cpio,addr=$linux_initramfs_address,force-raw=on" \
        -kernel "$linux/Image" -append "$linux_words" "$@"
}
