// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * What the kernel's loader wants of each module, and what Linux's own build system would write for this one: that needs
 * programs of the build machine that Debian has for one release only.
 */
#include <linux/export-internal.h>
#include <linux/module.h>
/* The header asks for it. */
#define INCLUDE_VERMAGIC
#include <linux/vermagic.h>

MODULE_INFO(vermagic, VERMAGIC_STRING);
MODULE_INFO(name, KBUILD_MODNAME);
MODULE_INFO(depends, "ffa-core");

__visible struct module __this_module __section(".gnu.linkonce.this_module") = {
	.name = KBUILD_MODNAME,
	.init = init_module,
	.exit = cleanup_module,
	.arch = MODULE_ARCH_INIT,
};
