# SPDX-License-Identifier: MIT OR Apache-2.0
# What the test of KVM has besides Linux: a kernel module, and a virtual machine monitor. (The guest is one of the payloads.)
# shellcheck shell=sh

# kvm_programs OUT_DIR: leaves OUT_DIR/bulkhead_messages.ko and OUT_DIR/monitor.
kvm_programs() {
    linux_module bulkhead_messages "$root/tests/clients/kvm/messages.c" "$1" &&
        aarch64-linux-gnu-gcc -O2 -Wall -Wextra -Werror -static -s -o "$1/monitor" "$root/tests/clients/kvm/monitor.c"
}

# kvm_initramfs OUT_DIR: leaves OUT_DIR/initramfs.cpio with all that the test needs.
kvm_initramfs() {
    logged "$1/kvm.log" kvm_programs "$1/kvm" &&
        linux_initramfs "$1" kvm "$1/kvm/bulkhead_messages.ko" "$1/kvm/monitor" "$out/payloads/kvm-guest.bin"
}
