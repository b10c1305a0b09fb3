# SPDX-License-Identifier: MIT OR Apache-2.0
# The QEMU boots of scripts/test: one row a boot.
# shellcheck shell=sh

# name | configuration | profile | cpu | mte | cores | icount shift | the normal world's command line | must be seen
#
# - The configuration is a directory of manifests/qemu-virt. Its expected.log, if there is one, announces warnings and
#   errors: one extended regular expression a line, each of which must occur on one of the two consoles.
# - With one core, shift 0 is one instruction a nanosecond; with more, or where the guest waits for time, 4 is faster. Where
#   interrupts storm, 1 leaves the cores instructions in between.
# - `must be seen` is an extended regular expression, or empty.
boots() {
    sed -e 's/^[[:space:]]*//' -e '/^#/d' -e '/^$/d' -e 's/[[:space:]]*|[[:space:]]*/|/g' <<'ROWS'
    demo                   | demo           | release | max         | on  | 4 | 4 | demo           |
    demo-debug             | demo           | debug   | max         | on  | 4 | 4 | demo           |
    demo-max-no-mte        | demo           | release | max         | off | 4 | 4 | demo           |
    demo-n2                | demo           | release | neoverse-n2 | on  | 4 | 4 | demo           |
    demo-n2-no-mte         | demo           | release | neoverse-n2 | off | 4 | 4 | demo           |
    demo-a710              | demo           | release | cortex-a710 | on  | 4 | 4 | demo           |
    demo-a710-no-mte       | demo           | release | cortex-a710 | off | 4 | 4 | demo           |
    stub                   | stub           | release | max         | on  | 4 | 4 | demo           |
    bad-spmc               | bad-spmc       | release | max         | on  | 4 | 4 | bad-spmc       |
    bad-partitions         | bad-partitions | release | max         | on  | 4 | 4 | bad-partitions |
    map                    | map            | release | max         | on  | 4 | 4 | demo           |
    overflow               | overflow       | debug   | max         | on  | 4 | 4 | bad-spmc       |
    existing               | existing       | release | max         | on  | 4 | 4 | existing       |
    optee                  | optee          | release | max         | on  | 4 | 4 | optee          | OP-TEE version
    linux                  | linux          | release | max         | on  | 4 | 4 | loglevel=8 nohz=off | \[linux\] SRI
    linux-kvm              | linux-kvm      | release | max         | on  | 4 | 1 | loglevel=4 | \[kvm\] Linux .* mode initialized
    linux-optee            | linux-optee    | release | max         | on  | 4 | 4 | loglevel=8 | \[optee\] optee: initialized driver
    linux-optee-gicv2      | linux-optee-gicv2 | release | max      | on  | 4 | 4 | loglevel=8 halts=1 | \[optee\] optee: initialized driver
    linux-xtest            | linux-xtest    | release | max         | on  | 4 | 4 | loglevel=4 |
    linux-xtest-gicv2      | linux-xtest-gicv2 | release | max      | on  | 4 | 4 | loglevel=4 |
    linux-xtest-pkvm       | linux-xtest    | release | max         | on  | 4 | 4 | loglevel=4 kvm-arm.mode=protected | \[xtest\] .*Protected .*mode initialized
    tests                  | tests          | release | max         | on  | 4 | 4 | tests          |
    tests-ends             | tests          | release | max         | on  | 4 | 4 | tests k7_      |
    interrupts             | interrupts     | release | max         | on  | 4 | 4 | interrupts     |
    interrupts-storm       | interrupts     | release | max         | on  | 4 | 6 | interrupts cv_storm seconds=120 |
    interrupts-1           | interrupts     | release | max         | on  | 1 | 0 | interrupts     |
    gicv2                  | gicv2          | release | max         | on  | 4 | 4 | interrupts     |
    gicv2-1                | gicv2          | release | max         | on  | 1 | 0 | interrupts     |
    gicv2-a710             | gicv2          | release | cortex-a710 | on  | 4 | 4 | interrupts i15_ |
    el0                    | el0            | release | max         | on  | 4 | 4 | el0            |
    el0-a710               | el0            | release | cortex-a710 | on  | 2 | 4 | el0            |
    cores                  | cores          | release | max         | on  | 4 | 4 | tests c7_      |
    cores-sharing          | cores          | release | max         | on  | 4 | 4 | tests t17_     |
    smp-1                  | smp            | release | max         | on  | 1 | 4 | tests _under_ seconds=1 cycles=100 |
    smp-2                  | smp            | release | max         | on  | 2 | 4 | tests _under_ seconds=1 cycles=100 |
    smp-4                  | smp            | release | max         | on  | 4 | 4 | tests _under_ seconds=1 cycles=100 |
    smp-8                  | smp            | release | max         | on  | 8 | 4 | tests _under_ seconds=1 cycles=100 |
    smp-blocks             | smp-blocks     | release | max         | on  | 4 | 4 | tests _under_ seconds=1 cycles=100 |
    sparse                 | sparse         | release | max         | on  | 17 | 4 | sparse        |
    tests-n2-v10           | tests          | release | neoverse-n2 | off | 4 | 4 | tests version=1.0 |
    tests-a710-v13         | tests          | release | cortex-a710 | on  | 4 | 4 | tests version=1.3 |
    tests-debug-v11        | tests          | debug   | max         | on  | 1 | 4 | tests version=1.1 |
ROWS
}

# Never expected on either console, unless expected.log announces it.
# (TF-A's levels are in capitals, Bulkhead's in words; FFA_ERROR in a line is no error.)
alarm='panic|PANIC|Unhandled|crash report|ASSERT|WARNING:|(^|[^A-Z_])ERROR|bulkhead: (warning|error|crash):'

boot_timeout_seconds=${BULKHEAD_BOOT_TIMEOUT:-300}

# config_command CONFIG: what the normal world is told to do in that configuration.
config_command() { boots | awk -F '|' -v config="$1" '$2 == config { print $8; found = 1; exit } END { if (!found) print config }'; }

# config_icount CONFIG CORES: the icount shift of that configuration with so many cores.
config_icount() {
    if [ "$2" -eq 1 ]; then say 0; else
        boots | awk -F '|' -v config="$1" '$2 == config { shift = $7; found = 1; exit } END { print found ? shift : 4 }'
    fi
}

# spmc_image CONFIG PROFILE: sets bl32 to the image for that configuration.
spmc_image() {
    bl32=$out/qemu-virt/bulkhead.bin
    [ "$2" = release ] || bl32=$out/qemu-virt-$2/bulkhead.bin
    [ "$1" = stub ] || return 0
    # A branch over 2 MiB (b . + 0x200000), zeros up to there, and the image.
    stub_image=$bl32
    bl32=$out/stub-$2.bin
    printf '\000\000\010\024' >"$bl32"
    dd if="$stub_image" of="$bl32" bs=65536 seek=32 status=none
}

# need_client CONFIG: what that configuration needs of real software. Fails, and says why in client_reason, when the
# archive cannot deliver it.
need_client() {
    case $1 in
    optee) need_optee || { client_reason="OP-TEE cannot be had: $optee_reason"; return 1; } ;;
    linux-optee | linux-optee-gicv2)
        client_suffix=${1#linux-optee}
        need_optee "${client_suffix#-}" || { client_reason="OP-TEE cannot be had: $optee_reason"; return 1; }
        need_linux "$linux_pages" || { client_reason="Linux cannot be had: $linux_reason"; return 1; }
        ;;
    linux-xtest | linux-xtest-gicv2)
        need_optee "quiet${1#linux-xtest}" || { client_reason="OP-TEE cannot be had: $optee_reason"; return 1; }
        need_linux "$linux_pages" || { client_reason="Linux cannot be had: $linux_reason"; return 1; }
        need_xtest || { client_reason="xtest cannot be had: $xtest_reason"; return 1; }
        ;;
    linux) need_linux_modules "$linux_pages" || { client_reason="Linux cannot be had: $linux_reason"; return 1; } ;;
    linux-kvm) need_linux_modules "$linux_pages" || { client_reason="KVM's test cannot be had: $linux_reason"; return 1; } ;;
    esac
}

# config_tfa CONFIG: sets tfa to the build of TF-A for that configuration.
config_tfa() {
    case $1 in
    linux | linux-*) need_tfa linux ;;
    *) need_tfa ;;
    esac
}

# config_flash CONFIG PROFILE OUT_DIR: puts the flash image of a configuration together, and what QEMU loads besides it.
config_flash() {
    [ -e "$root/manifests/qemu-virt/$1/spmc.dts" ] || die "there is no configuration '$1': see manifests/qemu-virt"
    config_tfa "$1"
    spmc_image "$1" "$2"
    case $1 in
    linux) make_flash "$root/manifests/qemu-virt/$1" "$3" "$bl32" "" && modules_initramfs "$3" ;;
    linux-kvm) make_flash "$root/manifests/qemu-virt/$1" "$3" "$bl32" "" && kvm_initramfs "$3" ;;
    linux-optee | linux-optee-gicv2) make_flash "$root/manifests/qemu-virt/$1" "$3" "$bl32" "" && linux_initramfs "$3" optee ;;
    linux-xtest | linux-xtest-gicv2) make_flash "$root/manifests/qemu-virt/$1" "$3" "$bl32" "" && xtest_initramfs "$3" ;;
    *)
        make_flash "$root/manifests/qemu-virt/$1" "$3" "$bl32" "$out/payloads/nwd.bin" || return 1
        rm -f "$3"/*.package
        for flash_spare in $(spare_addresses "$1"); do
            flash_format=$(awk -v address="$flash_spare" '$1 == address { print $2 }' "$root/manifests/qemu-virt/$1/spare.addresses")
            make_package "$root/manifests/qemu-virt/$1/spare.dts.in" "$flash_spare" "$3/fdts" "$out/payloads/tester.bin" \
                "$3/$flash_spare.package" "$flash_format" || return 1
        done
        ;;
    esac
}

# spare_addresses CONFIG: where the configuration's spare partitions are: those that QEMU loads, and no BL2. (The file has
# the format of each package beside its address.)
spare_addresses() { [ ! -e "$root/manifests/qemu-virt/$1/spare.addresses" ] || cut -d ' ' -f 1 "$root/manifests/qemu-virt/$1/spare.addresses"; }

# spares CONFIG OUT_DIR: QEMU's arguments that load the packages of the spare partitions, one a line.
spares() {
    for spare_address in $(spare_addresses "$1"); do
        spare_package=$2/$spare_address.package
        [ ! -e "$spare_package" ] || printf -- '-device\nloader,file=%s,addr=%s,force-raw=on\n' "$spare_package" "$spare_address"
    done
}

# machine_of CONFIG: what that configuration needs of the machine, one of QEMU's arguments a line. `interrupts` and `gicv2`
# have the GPIO block, which QEMU leaves out where it has ACPI, and a clock that instructions drive.
machine_of() {
    case $1 in
    interrupts | gicv2) printf -- '-machine\nacpi=off\n-rtc\nclock=vm\n' ;;
    esac
}

# boot_config CONFIG OUT_DIR CPU MTE CORES COMMAND [ARGUMENT...]: boots OUT_DIR/flash.bin with a command line.
boot_config() {
    # Read by lib/qemu.sh.
    # shellcheck disable=SC2034
    case $1 in
    linux-optee | linux-optee-gicv2) qemu_typist=1 ;;
    *) qemu_typist= ;;
    esac
    case $1 in
    linux | linux-*)
        shift
        linux_boot "$@"
        return
        ;;
    esac
    config_name=$1
    config_out=$2
    config_cpu=$3
    config_mte=$4
    config_cores=$5
    command_line "$config_out/command-line" "$6"
    shift 6
    # Words without spaces, but for the working tree's own path.
    config_ifs=$IFS
    IFS='
'
    # shellcheck disable=SC2046
    set -- $(machine_of "$config_name") $(spares "$config_name" "$config_out") "$@"
    IFS=$config_ifs
    qemu_boot "$config_out/flash.bin" "$config_out/boot" "$boot_timeout_seconds" "$config_cpu" "$config_mte" "$config_cores" \
        -device "loader,file=$config_out/command-line,addr=$command_line_address,force-raw=on" "$@"
}

# boot_complaint CONFIG OUT_DIR STATUS COMMAND SEEN: prints what is wrong with a finished boot; nothing when all is well.
boot_complaint() {
    case $3 in
    0) ;;
    124) say "did not power off within $boot_timeout_seconds s" ;;
    *) say "QEMU ended with status $3" ;;
    esac
    # What TF-A prints while it powers off does not count.
    sed "/$power_off_noise/,\$d" "$2/boot.nwd.log" >"$2/consoles.log"
    if grep -q "$power_off_noise" "$2/boot.nwd.log"; then
        sed '/^PANIC/,$d' "$2/boot.sec.log" >>"$2/consoles.log"
    else
        cat "$2/boot.sec.log" >>"$2/consoles.log"
    fi
    boot_expected=$root/manifests/qemu-virt/$1/expected.log
    : >"$2/expected"
    if [ -e "$boot_expected" ]; then
        sed -e '/^#/d' -e '/^$/d' "$boot_expected" >"$2/expected"
        case $4 in
        # A part of the suite provokes a part of them.
        'tests '* | 'interrupts '*) ;;
        *)
            while IFS= read -r boot_line; do
                grep -qE -e "$boot_line" "$2/consoles.log" || say "missing line: $boot_line"
            done <"$2/expected"
            ;;
        esac
    fi
    if [ -n "$5" ] && ! grep -qE -e "$5" "$2/consoles.log"; then say "missing line: $5"; fi
    grep -E -e "$alarm" "$2/consoles.log" | grep -vE -f "$2/expected" | sed 's/^/unexpected line: /'
    # The maps that it printed, if any.
    ! grep -q '^bulkhead: map: ' "$2/boot.sec.log" ||
        "$root/scripts/map-check" "$2/boot.sec.log" "$root/manifests/qemu-virt/$1/partitions.map"
    grep -q '^\[done\]' "$2/boot.nwd.log" || say "the normal world did not come to its [done] line"
}
