# SPDX-License-Identifier: MIT OR Apache-2.0
# QEMU: getting one that is new enough, and booting a flash image on it.
# shellcheck shell=sh

# Earlier versions lack fixes at Secure EL2 that Bulkhead needs.
qemu_wanted=10.0

qemu_version() { qemu-system-aarch64 --version 2>/dev/null | sed -n 's/^QEMU emulator version \([0-9.]*\).*/\1/p'; }

# need_qemu: takes the QEMU on PATH when it is new enough; else installs Debian's, from backports where the release's own is too old.
need_qemu() {
    if have qemu-system-aarch64 && version_at_least "$(qemu_version)" "$qemu_wanted"; then
        return 0
    fi
    qemu_suite=$(debian_codename) ||
        die "qemu-system-aarch64 $qemu_wanted or newer is needed, and this is not Debian: put one on PATH"
    if [ "$qemu_suite" = bookworm ]; then
        private_sources qemu "deb bookworm main" "deb bookworm-updates main" "deb bookworm-backports main" ||
            die "QEMU $qemu_wanted comes from bookworm-backports, whose lists could not be read"
        step "installing qemu-system-arm from bookworm-backports (the release's own is too old for Secure EL2)"
        retried logged "$cache/log/apt-qemu.log" private_apt_install qemu bookworm-backports qemu-system-arm ||
            die "qemu-system-arm could not be installed from bookworm-backports"
    else
        install_packages "the machine that everything runs on" qemu-system-arm || die "qemu-system-arm could not be installed"
    fi
    version_at_least "$(qemu_version)" "$qemu_wanted" ||
        die "qemu-system-aarch64 is $(qemu_version); $qemu_wanted or newer is needed"
}

# Where the normal world reads which tests to run: ASCII, ended by a zero byte, in a page of its own.
command_line_address=0x4f000000

# Lines of TF-A that say nothing: its way to power off, packages that are not there, and its map of 32 cores. Logs keep
# them.
quiet_lines='QEMU System Power off|BL2: Skip loading|PSCI Power Domain Map|Domain Node :|CPU Node :'

# What has to be set by the caller of qemu_boot, if at all: qemu_live=1 shows both consoles while it runs;
# qemu_icount=SHIFT counts instructions instead of time, which makes a run deterministic; qemu_typist=1 has the typist sit
# at both consoles.
qemu_live=
qemu_icount=
qemu_typist=

# command_line FILE WORD...: writes the file that the normal world's command line is loaded from.
command_line() {
    command_line_file=$1
    shift
    printf '%s' "$*" >"$command_line_file"
    # Zeros up to a page.
    dd if=/dev/null of="$command_line_file" bs=1 seek=4096 status=none
}

# After this line of TF-A's the machine is going down, and EL3 may still come to print a panic.
power_off_noise='QEMU System Power off: with GPIO'
# The data registers of the two UARTs, as QEMU's trace writes them.
nwd_uart=0x9000000
sec_uart=0x9040000

# show_consoles: turns QEMU's trace of device writes on standard input into lines of both consoles, in the order in
# which the guest wrote them: two files or pipes would lose that order.
show_consoles() {
    # mawk waits for more input than there is unless told not to.
    show_awk='awk'
    awk -W version 2>&1 </dev/null | grep -q '^mawk' && show_awk='awk -W interactive'
    # shellcheck disable=SC2016
    $show_awk -v nwd="$nwd_uart" -v sec="$sec_uart" -v quiet="$quiet_lines" -v power_off="$power_off_noise" '
        BEGIN {
            for (i = 0; i < 256; i++) character[sprintf("0x%x", i)] = sprintf("%c", i)
            prefix[nwd] = "nwd| "; prefix[sec] = "sec| "
        }
        $1 != "memory_region_ops_write" { print "qemu| " $0; next }
        $7 != nwd && $7 != sec { next }
        $9 == "0xd" || $9 == "0x0" { next }
        $9 == "0xa" {
            if (line[$7] ~ power_off) going_down = 1
            if (line[$7] !~ quiet && !going_down) print prefix[$7] line[$7]
            fflush()
            line[$7] = ""
            next
        }
        { line[$7] = line[$7] character[$9] }
        END {
            for (uart in prefix) if (line[uart] != "" && !going_down) print prefix[uart] line[uart]
        }'
}

# How long the typist waits for what is to come, in tenths of a second.
typist_patience=200

# typist OUT_PREFIX: for each line `[type] CHARACTERS, REGEX` of the normal world, types the characters on the secure
# console, and then on the normal world's a line: `yes` once the secure console has shown what REGEX matches, else `no`.
typist() {
    exec 3<>"$1.nwd.in" 4<>"$1.sec.in"
    typist_lines=0
    while sleep 0.1; do
        typist_line=$(tr '\r' '.' <"$1.nwd.log" | sed -n 's/^\[type\] \(.*\)\.$/\1/p' | sed -n "$((typist_lines + 1))p")
        [ -n "$typist_line" ] || continue
        typist_lines=$((typist_lines + 1))
        printf '%s' "${typist_line%%, *}" >&4
        typist_left=$typist_patience
        until grep -qE -e "${typist_line#*, }" "$1.sec.log" || [ "$typist_left" -eq 0 ]; do
            sleep 0.1
            typist_left=$((typist_left - 1))
        done
        if [ "$typist_left" -gt 0 ]; then say yes >&3; else say no >&3; fi
    done
}

# qemu_boot FLASH OUT_PREFIX TIMEOUT CPU MTE SMP [ARGUMENT...]: boots the flash image; leaves the normal world's console
# in OUT_PREFIX.nwd.log, the secure one in .sec.log and QEMU's own words in .qemu.log. Answers QEMU's status, or 124
# when the time (in seconds) was up.
qemu_boot() {
    boot_flash=$1
    boot_prefix=$2
    boot_timeout=$3
    boot_cpu=$4
    boot_mte=$5
    boot_smp=$6
    shift 6
    # The emulator's own pointer authentication is much faster than the architecture's.
    [ "$boot_cpu" = max ] && boot_cpu=max,pauth-impdef=on
    [ -n "$qemu_icount" ] && set -- -icount "shift=$qemu_icount,sleep=off" -seed 1 "$@"
    rm -f "$boot_prefix.nwd.log" "$boot_prefix.sec.log" "$boot_prefix.nwd.in" "$boot_prefix.sec.in" "$boot_prefix.status"
    boot_nwd=path=$boot_prefix.nwd.log
    boot_sec=path=$boot_prefix.sec.log
    boot_typist=
    if [ -n "$qemu_typist" ]; then
        mkfifo "$boot_prefix.nwd.in" "$boot_prefix.sec.in" || return 1
        : >"$boot_prefix.nwd.log"
        : >"$boot_prefix.sec.log"
        typist "$boot_prefix" </dev/null >/dev/null 2>&1 &
        boot_typist=$!
        boot_nwd=$boot_nwd,input-path=$boot_prefix.nwd.in
        boot_sec=$boot_sec,input-path=$boot_prefix.sec.in
    fi
    set -- -M "virt,secure=on,virtualization=on,gic-version=3,mte=$boot_mte" -cpu "$boot_cpu" -smp "$boot_smp" -m 2G \
        -display none -monitor none -nodefaults -chardev "file,id=nwd,$boot_nwd" -chardev "file,id=sec,$boot_sec" \
        -serial chardev:nwd -serial chardev:sec -bios "$boot_flash" "$@"
    boot_status=0
    if [ -n "$qemu_live" ]; then
        { timed_qemu "$@" -trace memory_region_ops_write 2>&1 || printf '%s\n' "$?" >"$boot_prefix.status"; } | show_consoles
        if [ -s "$boot_prefix.status" ]; then boot_status=$(cat "$boot_prefix.status"); fi
    else
        timed_qemu "$@" >"$boot_prefix.qemu.log" 2>&1 || boot_status=$?
        [ "$boot_status" -eq 0 ] || [ "$boot_status" -eq 124 ] || cat "$boot_prefix.qemu.log" >&2
    fi
    [ -z "$boot_typist" ] || kill "$boot_typist"
    for boot_log in "$boot_prefix.nwd.log" "$boot_prefix.sec.log"; do
        if [ -e "$boot_log" ]; then sed -i 's/\r//g' "$boot_log"; else : >"$boot_log"; fi
    done
    return "$boot_status"
}

timed_qemu() { timeout --foreground -k 5 "$boot_timeout" qemu-system-aarch64 "$@" </dev/null; }
