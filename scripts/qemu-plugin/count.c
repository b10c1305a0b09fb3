// SPDX-License-Identifier: MIT OR Apache-2.0
// A QEMU plugin that counts, exactly, the instructions which one core executes in a range of addresses, between two hint
// instructions that the guest executes itself: `hint #0x60` begins a window, `hint #0x61` ends it. Each window is one
// line of the output: the count in the range, and the count everywhere.
//
// Arguments: out=FILE,first=ADDRESS (the range reaches from there to the top of the address space).
//
// An instruction counts when it begins: its callback runs just before it, also when a translation block is left early.
// Code that is translated again in the middle of a window changes nothing, because nothing is counted at translation.

#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// The part of QEMU's stable plugin interface that is used here (docs/devel/tcg-plugins; version 4 is QEMU 9.1's), for
// the header is not packaged everywhere.
#define EXPORT __attribute__((visibility("default")))
#define PLUGIN_INTERFACE_VERSION 4

typedef uint64_t qemu_plugin_id_t;
typedef struct qemu_info_t qemu_info_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum qemu_plugin_cb_flags { QEMU_PLUGIN_CB_NO_REGS };
typedef void (*qemu_plugin_vcpu_tb_trans_cb_t)(qemu_plugin_id_t id, struct qemu_plugin_tb *tb);
typedef void (*qemu_plugin_vcpu_udata_cb_t)(unsigned int vcpu_index, void *userdata);
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, qemu_plugin_vcpu_tb_trans_cb_t cb);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn, qemu_plugin_vcpu_udata_cb_t cb,
                                            enum qemu_plugin_cb_flags flags, void *userdata);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t idx);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);
size_t qemu_plugin_insn_data(const struct qemu_plugin_insn *insn, void *dest, size_t len);

EXPORT int qemu_plugin_version = PLUGIN_INTERFACE_VERSION;

// HINT #imm is 0xd503201f | imm << 5.
static const uint32_t hint_begin = 0xd503201f | 0x60 << 5;
static const uint32_t hint_end = 0xd503201f | 0x61 << 5;

static FILE *out;
static uint64_t first_address;
static bool in_window;
static uint64_t in_range;
static uint64_t everywhere;

static void begin_window(unsigned int vcpu, void *unused)
{
    (void)vcpu, (void)unused;
    in_window = true;
    in_range = everywhere = 0;
}

static void end_window(unsigned int vcpu, void *unused)
{
    (void)vcpu, (void)unused;
    if (!in_window)
        return;
    in_window = false;
    fprintf(out, "%" PRIu64 " %" PRIu64 "\n", in_range, everywhere);
    fflush(out);
}

static void count_in_range(unsigned int vcpu, void *unused)
{
    (void)vcpu, (void)unused;
    in_range++;
    everywhere++;
}

static void count_elsewhere(unsigned int vcpu, void *unused)
{
    (void)vcpu, (void)unused;
    everywhere++;
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    (void)id;
    size_t n = qemu_plugin_tb_n_insns(tb);
    for (size_t i = 0; i < n; i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        uint32_t opcode = 0;
        qemu_plugin_insn_data(insn, &opcode, sizeof opcode);
        qemu_plugin_vcpu_udata_cb_t callback = count_elsewhere;
        if (opcode == hint_begin)
            callback = begin_window;
        else if (opcode == hint_end)
            callback = end_window;
        else if (qemu_plugin_insn_vaddr(insn) >= first_address)
            callback = count_in_range;
        qemu_plugin_register_vcpu_insn_exec_cb(insn, callback, QEMU_PLUGIN_CB_NO_REGS, NULL);
    }
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv)
{
    (void)info;
    for (int i = 0; i < argc; i++) {
        if (strncmp(argv[i], "out=", 4) == 0)
            out = fopen(argv[i] + 4, "w");
        else if (strncmp(argv[i], "first=", 6) == 0)
            first_address = strtoull(argv[i] + 6, NULL, 0);
    }
    if (out == NULL || first_address == 0) {
        fprintf(stderr, "count: the arguments are out=FILE,first=ADDRESS\n");
        return -1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    return 0;
}
