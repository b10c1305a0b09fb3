// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which properties the bindings define, by node, and those that a manifest has besides (B-26).
//!
//! Bulkhead ignores an unknown property, as other SPMCs do, but says so: it may be a misspelt one.

use crate::dt::Node;
use crate::error::NodePath;

/// A property that no binding defines: worth a warning, never a refusal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnknownProperty<'a> {
    /// The first node that has it.
    pub node: NodePath<'a>,
    /// The property.
    pub name: &'a str,
}

impl core::fmt::Display for UnknownProperty<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "{}: property {} is unknown and ignored",
            self.node, self.name
        )
    }
}

/// What any node may have: cell counts, and what dtc writes for a label.
const EVERYWHERE: [&str; 5] = [
    "compatible",
    "phandle",
    "linux,phandle",
    "#address-cells",
    "#size-cells",
];

/// The root of a partition's manifest (B-01 to B-23). The last four are of older bindings and of OP-TEE.
pub(crate) const SP_ROOT: [&str; 42] = [
    "ffa-version",
    "uuid",
    "id",
    "auxiliary-id",
    "description",
    "debug_name",
    "execution-ctx-count",
    "exception-level",
    "execution-state",
    "load-address",
    "entrypoint-offset",
    "xlat-granule",
    "boot-order",
    "messaging-method",
    "managed-exit",
    "managed-exit-virq",
    "ns-interrupts-action",
    "other-s-interrupts-action",
    "sri-interrupts-policy",
    "has-primary-scheduler",
    "time-slice-mem",
    "gp-register-num",
    "notification-support",
    "power-management-messages",
    "vm-availability-messages",
    "lifecycle-support",
    "abort-action",
    "live-activation-support",
    "live-activation-register",
    "image-uuid",
    "image-size",
    "mem-size",
    "stream-endpoint-ids",
    "run-time-model",
    "bulkhead,request-queue",
    "bulkhead,run-timeout-ms",
    "bulkhead,virtual-counter-from-boot",
    "bulkhead,virtual-serror",
    "bulkhead,interrupt-share",
    "bulkhead,ipa-base",
    "bulkhead,retrieved-memory-base",
    "bulkhead,retrieved-memory-size",
];

/// A child of `services` (B-03).
pub(crate) const SERVICE: [&str; 3] = ["uuid", "messaging-method", "description"];

/// `boot-info` (B-19).
pub(crate) const BOOT_INFO: [&str; 2] = ["ffa_manifest", "hob_list"];

/// `rx_tx-info` (B-12).
pub(crate) const RX_TX_INFO: [&str; 2] = ["rx-buffer", "tx-buffer"];

/// `live-state-buffer-info` (B-23).
pub(crate) const LIVE_STATE: [&str; 1] = ["live-state-buffer"];

/// `bulkhead,interrupt-controller` (C-18).
pub(crate) const INTERRUPT_CONTROLLER: [&str; 6] = [
    "distributor",
    "cpu-interface",
    "timer-interrupt",
    "managed-exit-interrupt",
    "notification-pending-interrupt",
    "firmware-initialised",
];

/// A memory region (B-24). `load-flags` is of an SPMC at S-EL1.
pub(crate) const MEMORY_REGION: [&str; 10] = [
    "base-address",
    "load-address-relative-offset",
    "pages-count",
    "attributes",
    "description",
    "smmu-id",
    "stream-ids",
    "stream-ids-access-permissions",
    "load-flags",
    "bulkhead,ipa-address",
];

/// A device region (B-25).
pub(crate) const DEVICE_REGION: [&str; 10] = [
    "base-address",
    "pages-count",
    "attributes",
    "description",
    "smmu-id",
    "stream-ids",
    "interrupts",
    "interrupts-target",
    "exclusive-access",
    "bulkhead,ipa-address",
];

/// The root of the SPMC manifest.
pub(crate) const SPMC_ROOT: [&str; 2] = ["model", "interrupt-parent"];

/// `attribute` (B-40).
pub(crate) const ATTRIBUTE: [&str; 7] = [
    "spmc_id",
    "maj_ver",
    "min_ver",
    "exec_state",
    "load_address",
    "entrypoint",
    "binary_size",
];

/// `hypervisor`: four properties of our own.
pub(crate) const HYPERVISOR: [&str; 6] = [
    "bulkhead,init-timeout-ms",
    "bulkhead,run-timeout-ms",
    "bulkhead,page-memory-base",
    "bulkhead,page-memory-size",
    "bulkhead,show-map",
    "bulkhead,overflow-stack",
];

/// `vmN` (B-41): what FF-A partitions have, two properties of our own, and what Hafnium reads for others.
pub(crate) const VM: [&str; 15] = [
    "is_ffa_partition",
    "debug_name",
    "load_address",
    "vcpu_count",
    "mem_size",
    "smc_whitelist",
    "smc_whitelist_permissive",
    "bulkhead,critical",
    "bulkhead,image-copy",
    "boot_address",
    "exception-level",
    "fdt_filename",
    "kernel_filename",
    "ramdisk_filename",
    "requires_identity_mapping",
];

/// A `memory` node (B-42).
pub(crate) const MEMORY: [&str; 3] = ["device_type", "reg", "status"];

/// How many different unknown properties a manifest's list has at most: who misspells so many has seen enough.
const MOST: usize = 16;

/// The properties of `node` that `known` lacks.
pub(crate) fn unknown<'a>(
    node: Node<'_, 'a>,
    known: &'static [&'static str],
) -> impl Iterator<Item = UnknownProperty<'a>> {
    let path = node.path();
    node.properties()
        .map(|(name, _)| name)
        .filter(|name| !known.contains(name) && !EVERYWHERE.contains(name))
        .map(move |name| UnknownProperty { node: path, name })
}

/// Each name once, the first 16 of them.
pub(crate) fn once<'a>(
    all: impl Iterator<Item = UnknownProperty<'a>>,
) -> impl Iterator<Item = UnknownProperty<'a>> {
    let mut seen = [None; MOST];
    all.filter(move |unknown| {
        for slot in &mut seen {
            match slot {
                Some(name) if *name == unknown.name => return false,
                Some(_) => {}
                None => {
                    *slot = Some(unknown.name);
                    return true;
                }
            }
        }
        false
    })
}
