# SPDX-License-Identifier: MIT OR Apache-2.0
# The part of TF-A's Makefile that turns a configuration into a FIP, without building TF-A: the same input files, TF-A's
# own generator, sptool and fiptool. Called by lib/fip.sh; an integrator uses TF-A's Makefile itself
# (tf-a-integration/qemu-virt/README.md).
# CONFIG, OUT, TFA, BL32, BL33 and INCLUDE come from the caller; BL33 is empty where something else puts it into memory.

SPTOOL := $(TFA)/sptool.py
PYTHON := python3
Q := @

all: $(OUT)/fip.bin

# Adds to SP_PKGS, FDT_SOURCES and FIP_ARGS.
include $(OUT)/sp_gen.mk

vpath %.dts $(sort $(CONFIG) $(dir $(FDT_SOURCES)))

$(OUT)/fdts/%.dtb: %.dts
	$(Q)cpp -nostdinc -undef -x assembler-with-cpp -P -I $(CONFIG) -I $(INCLUDE) $< >$(OUT)/fdts/$*.pre.dts
	$(Q)dtc -q -I dts -O dtb -o $@ $(OUT)/fdts/$*.pre.dts

$(OUT)/fip.bin: $(OUT)/fdts/spmc.dtb $(OUT)/fdts/tb_fw_config.dtb $(SP_PKGS) $(BL32) $(BL33)
	$(Q)$(TFA)/fiptool create --tb-fw $(TFA)/bl2.bin --soc-fw $(TFA)/bl31.bin --tos-fw $(BL32) $(addprefix --nt-fw ,$(BL33)) \
		--tb-fw-config $(OUT)/fdts/tb_fw_config.dtb --tos-fw-config $(OUT)/fdts/spmc.dtb $(FIP_ARGS) $@
