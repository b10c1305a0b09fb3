// SPDX-License-Identifier: MIT OR Apache-2.0
//! A partition's manifest: TF-A's `ffa-manifest-binding`, revisions 1.0 and 1.1 (B-01 to B-26).

use bulkhead_abi::Version;

use crate::dt::{Field, Node, Tree};
use crate::error::{Document, ManifestError, NodePath, Rule};
use crate::policy::{
    AbortAction, BootInfoWanted, ExceptionLevel, ExecutionState, MessagingMethod,
    NsInterruptsAction, OtherSInterruptsAction, PowerMessages, SriPolicy, VmMessages, XlatGranule,
};
use crate::region::{self, DeviceRegion, MemoryRegion, Rules};
use crate::service::{self, Binding, Service};

const COMPATIBLE: Field = Field::new(
    "compatible",
    "write compatible = \"arm,ffa-manifest-1.0\"; or -1.1",
);
const FFA_VERSION: Field = Field::new(
    "ffa-version",
    "write ffa-version = <0x10000>; to <0x10003>; for FF-A 1.0 to 1.3",
);
pub(crate) const ID: Field = Field::new(
    "id",
    "write id = <ID>; with an unused id from 0x8001 to 0xfffe, or leave it out for 0x8000 + N of vmN",
);
const AUXILIARY_ID: Field = Field::new(
    "auxiliary-id",
    "write auxiliary-id = <ID>; with a 16-bit id",
);
const DESCRIPTION: Field = Field::new("description", "write description = \"NAME\";");
const DEBUG_NAME: Field = Field::new("debug_name", "write debug_name = \"NAME\";");
pub(crate) const CONTEXTS: Field = Field::new(
    "execution-ctx-count",
    "write execution-ctx-count = <N>; 1, or for S-EL1 the number of the partition's vCPUs",
);
const EXCEPTION_LEVEL: Field = Field::new(
    "exception-level",
    "write exception-level = <1>; for S-EL0 or <2>; for S-EL1",
);
pub(crate) const EXECUTION_STATE: Field = Field::new(
    "execution-state",
    "write execution-state = <0>; for AArch64",
);
pub(crate) const LOAD_ADDRESS: Field =
    Field::new("load-address", "write load-address = <PA>; page-aligned");
pub(crate) const ENTRYPOINT: Field = Field::new(
    "entrypoint-offset",
    "write entrypoint-offset = <OFFSET>; from the load address to an instruction of the image",
);
pub(crate) const MEM_SIZE: Field = Field::new(
    "mem-size",
    "write mem-size = <BYTES>; for the memory from the load address",
);
const GRANULE: Field = Field::new(
    "xlat-granule",
    "write xlat-granule = <0>; for 4 KiB, <1>; for 16 KiB or <2>; for 64 KiB",
);
pub(crate) const BOOT_ORDER: Field = Field::new(
    "boot-order",
    "write boot-order = <N>; below 0xffff and unlike that of every other partition",
);
const NS_ACTION: Field = Field::new(
    "ns-interrupts-action",
    "write ns-interrupts-action = <0>; (queued), <1>; (managed exit, S-EL1 only) or <2>; (signaled)",
);
const MANAGED_EXIT: Field = Field::new(
    "managed-exit",
    "write ns-interrupts-action = <1>; (S-EL1 only) instead",
);
const MANAGED_EXIT_VIRQ: Field = Field::new("managed-exit-virq", "write managed-exit-virq;");
const OTHER_S_ACTION: Field = Field::new(
    "other-s-interrupts-action",
    "write other-s-interrupts-action = <1>; (signaled), or <0>; (queued) together with \
     ns-interrupts-action = <0>;",
);
const SRI_POLICY: Field = Field::new(
    "sri-interrupts-policy",
    "write sri-interrupts-policy = <0>; to <3>; 0 for S-EL0",
);
const NOTIFICATIONS: Field = Field::new("notification-support", "write notification-support;");
const GP_REGISTER: Field = Field::new(
    "gp-register-num",
    "write gp-register-num = <0>; to <3>; for x0 to x3",
);
const POWER_MESSAGES: Field = Field::new(
    "power-management-messages",
    "write power-management-messages = <BITS>; of bits 0 to 2",
);
const VM_MESSAGES: Field = Field::new(
    "vm-availability-messages",
    "write vm-availability-messages = <0>; to <3>;",
);
const LIFECYCLE: Field = Field::new("lifecycle-support", "write lifecycle-support;");
const ABORT_ACTION: Field = Field::new(
    "abort-action",
    "write abort-action = <0>; (stop), <1>; (destroy), <2>; (restart) or <3>; (propagate)",
);
const RX_BUFFER: Field = Field::new(
    "rx-buffer",
    "write rx-buffer = <&LABEL>; of a node in memory-regions",
);
const TX_BUFFER: Field = Field::new(
    "tx-buffer",
    "write tx-buffer = <&LABEL>; of another node in memory-regions, with as many pages",
);
const BOOT_INFO_FDT: Field = Field::new("ffa_manifest", "write ffa_manifest;");
const BOOT_INFO_HOB: Field = Field::new("hob_list", "write hob_list;");

const MEMORY_REGIONS: &str = "memory-regions";
const DEVICE_REGIONS: &str = "device-regions";
const RX_TX_INFO: &str = "rx_tx-info";
const BOOT_INFO: &str = "boot-info";

/// The largest number of execution contexts: FFA_RUN and the partition information have 16 bits.
const MAX_CONTEXTS: u32 = 0xffff;
/// The boot order that the binding's readers give to a partition without one.
const LAST_IN_BOOT_ORDER: u64 = 0xffff;

/// The properties that the root may have. Those that nothing reads here say so in B-05, B-17, B-23 of
/// FEATURES, or belong to another SPMC's extensions that change nothing for us.
const KNOWN: [&str; 39] = [
    "compatible",
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
    "run-time-model",
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
    "phandle",
    "linux,phandle",
    "#address-cells",
    "#size-cells",
];

/// A partition's manifest, completely checked by itself.
#[derive(Clone, Copy, Debug)]
pub struct SpManifest<'a> {
    tree: Tree<'a>,
    binding: Binding,
    /// The FF-A version that the partition speaks (B-02).
    pub ffa_version: Version,
    /// `id` as written. Honoured only with bit 15 set: see [`crate::rules`].
    pub id: Option<u32>,
    /// `auxiliary-id` as written.
    pub auxiliary_id: Option<u16>,
    /// `description`, else `debug_name`, else empty.
    pub description: &'a str,
    /// The number of execution contexts that the image is made for; 1 for a migratable UP partition.
    pub execution_ctx_count: u32,
    /// Where it runs.
    pub exception_level: ExceptionLevel,
    /// How it runs.
    pub execution_state: ExecutionState,
    /// Where the manifest says that the image is loaded; the SPMC manifest decides.
    pub load_address: Option<u64>,
    /// From the load address to the first instruction.
    pub entrypoint_offset: u64,
    /// OP-TEE's `mem-size`: bytes of memory from the load address.
    pub mem_size: Option<u64>,
    /// The unit of `pages-count`.
    pub xlat_granule: XlatGranule,
    /// Lower ones boot first; `None` (absent or 0xffff) boots last.
    pub boot_order: Option<u16>,
    /// What all services together do; [`SpManifest::services`] has each one's.
    pub messaging_method: MessagingMethod,
    /// What a non-secure interrupt does. Signaled where the manifest does not say; the deprecated
    /// `managed-exit` overrides it (B-13).
    pub ns_interrupts_action: NsInterruptsAction,
    /// The managed exit comes as vIRQ instead of vFIQ.
    pub managed_exit_virq: bool,
    /// What another partition's secure interrupt does. Signaled where the manifest does not say.
    pub other_s_interrupts_action: OtherSInterruptsAction,
    /// When the schedule receiver interrupt is raised for the partition's own interrupts.
    pub sri_policy: SriPolicy,
    /// The partition receives notifications.
    pub notification_support: bool,
    /// The register (0 to 3) that gets the address of the boot information.
    pub gp_register_num: Option<u32>,
    /// What the boot information holds.
    pub boot_info: BootInfoWanted,
    /// The power messages that it subscribes to; `None` where the manifest does not say.
    pub power_management_messages: Option<PowerMessages>,
    /// The VM messages that it subscribes to.
    pub vm_availability_messages: VmMessages,
    /// The partition knows all lifecycle states.
    pub lifecycle_support: bool,
    /// What a fatal error of the partition leads to; `None` leaves it to the SPMC.
    pub abort_action: Option<AbortAction>,
    /// The buffers that the SPMC maps before the partition runs.
    pub rx_tx: Option<RxTxBuffers<'a>>,
}

/// The RX and TX buffers of a partition whose manifest describes them (B-12).
#[derive(Clone, Copy, Debug)]
pub struct RxTxBuffers<'a> {
    /// The partition reads messages from it.
    pub rx: MemoryRegion<'a>,
    /// The partition writes messages to it.
    pub tx: MemoryRegion<'a>,
}

/// A property that no binding defines: worth a warning, never a refusal (B-26).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnknownProperty<'a> {
    /// The node.
    pub node: NodePath<'a>,
    /// The property.
    pub name: &'a str,
}

impl<'a> SpManifest<'a> {
    /// Parses and checks a partition's manifest.
    ///
    /// # Errors
    /// The first rule that it breaks, with the node and the property.
    pub fn parse(dtb: &'a [u8]) -> Result<Self, ManifestError<'a>> {
        let tree = Tree::parse(dtb, Document::Partition)?;
        let manifest = Self::read(tree, &tree)?;
        manifest.check_regions()?;
        Ok(Self {
            rx_tx: manifest.read_rx_tx()?,
            ..manifest
        })
    }

    fn read(tree: Tree<'a>, borrowed: &Tree<'a>) -> Result<Self, ManifestError<'a>> {
        let root = borrowed.root().ok_or(ManifestError::new(
            Document::Partition,
            NodePath::ROOT,
            Rule::MissingNode,
            "write a root node",
        ))?;
        let binding = if root.is_compatible("arm,ffa-manifest-1.0") {
            Binding::V1_0
        } else if root.is_compatible("arm,ffa-manifest-1.1") {
            Binding::V1_1
        } else {
            return Err(root.field_error(COMPATIBLE, Rule::NotCompatible));
        };
        let ffa_version = version(root)?;
        let exception_level = required_value(
            root,
            EXCEPTION_LEVEL,
            Rule::NotCompatible,
            |level| match level {
                1 => Some(ExceptionLevel::SEl0),
                2 => Some(ExceptionLevel::SEl1),
                _ => None,
            },
        )?;
        let ns_interrupts_action = ns_action(root, exception_level)?;
        Ok(Self {
            tree,
            binding,
            ffa_version,
            id: root.u32(ID)?,
            auxiliary_id: root
                .integer_up_to(AUXILIARY_ID, u64::from(u16::MAX))?
                .and_then(|id| u16::try_from(id).ok()),
            description: match root.string(DESCRIPTION)? {
                Some(description) => description,
                None => root.string(DEBUG_NAME)?.unwrap_or_default(),
            },
            execution_ctx_count: contexts(root, exception_level)?,
            exception_level,
            execution_state: required_value(root, EXECUTION_STATE, Rule::NotCompatible, |state| {
                match state {
                    0 => Some(ExecutionState::AArch64),
                    1 => Some(ExecutionState::AArch32),
                    _ => None,
                }
            })?,
            load_address: root.integer(LOAD_ADDRESS)?,
            entrypoint_offset: root.integer(ENTRYPOINT)?.unwrap_or(0),
            mem_size: root.integer(MEM_SIZE)?,
            xlat_granule: value(root, GRANULE, Rule::UnknownValue, |granule| match granule {
                0 => Some(XlatGranule::K4),
                1 => Some(XlatGranule::K16),
                2 => Some(XlatGranule::K64),
                _ => None,
            })?
            .unwrap_or_default(),
            boot_order: boot_order(root)?,
            messaging_method: service::check(root, binding, ffa_version)?,
            ns_interrupts_action,
            managed_exit_virq: root.flag(MANAGED_EXIT_VIRQ)?,
            other_s_interrupts_action: other_s_action(root, ns_interrupts_action)?,
            sri_policy: sri_policy(root, exception_level)?,
            notification_support: root.flag(NOTIFICATIONS)?,
            gp_register_num: value(root, GP_REGISTER, Rule::UnknownValue, |register| {
                (register <= 3).then_some(register)
            })?,
            boot_info: boot_info(root)?,
            power_management_messages: root.u32(POWER_MESSAGES)?.map(|bits| PowerMessages {
                cpu_off: bits & 1 != 0,
                cpu_suspend: bits & 2 != 0,
                cpu_suspend_resume: bits & 4 != 0,
            }),
            vm_availability_messages: value(root, VM_MESSAGES, Rule::UnknownValue, |bits| {
                (bits & !3 == 0).then_some(VmMessages {
                    created: bits & 1 != 0,
                    destroyed: bits & 2 != 0,
                })
            })?
            .unwrap_or_default(),
            lifecycle_support: root.flag(LIFECYCLE)?,
            abort_action: value(
                root,
                ABORT_ACTION,
                Rule::UnknownValue,
                |action| match action {
                    0 => Some(AbortAction::Stop),
                    1 => Some(AbortAction::Destroy),
                    2 => Some(AbortAction::Restart),
                    3 => Some(AbortAction::Propagate),
                    _ => None,
                },
            )?,
            rx_tx: None,
        })
    }

    /// The services in the order of the manifest; never none.
    pub fn services(&self) -> impl Iterator<Item = Service> {
        self.tree
            .root()
            .into_iter()
            .flat_map(|root| service::services(root, self.binding))
    }

    /// The UUIDs of [`SpManifest::services`].
    pub fn uuids(&self) -> impl Iterator<Item = bulkhead_abi::Uuid> {
        self.services().map(|service| service.uuid)
    }

    /// The memory regions, the RX and TX buffers among them.
    pub fn memory_regions(&self) -> impl Iterator<Item = MemoryRegion<'a>> {
        self.nodes_in(MEMORY_REGIONS)
            .filter_map(|node| MemoryRegion::read(node, self.region_rules()).ok())
    }

    /// The device regions.
    pub fn device_regions(&self) -> impl Iterator<Item = DeviceRegion<'a>> {
        self.nodes_in(DEVICE_REGIONS)
            .filter_map(|node| DeviceRegion::read(node, self.region_rules()).ok())
    }

    /// Properties that no binding defines, in the root, the services and the regions.
    pub fn unknown_properties(&self) -> impl Iterator<Item = UnknownProperty<'a>> {
        let root = self
            .tree
            .root()
            .into_iter()
            .flat_map(|root| unknown(root, &KNOWN));
        let services = self
            .nodes_in(service::SERVICES)
            .flat_map(|node| unknown(node, &service::KNOWN));
        let memory = self
            .nodes_in(MEMORY_REGIONS)
            .flat_map(|node| unknown(node, &region::KNOWN));
        let devices = self
            .nodes_in(DEVICE_REGIONS)
            .flat_map(|node| unknown(node, &region::KNOWN));
        root.chain(services).chain(memory).chain(devices)
    }

    /// The bytes of the manifest that were read.
    pub const fn size(&self) -> usize {
        self.tree.size()
    }

    fn nodes_in(&self, name: &'static str) -> impl Iterator<Item = Node<'_, 'a>> {
        self.tree.child(name).into_iter().flat_map(Node::children)
    }

    fn region_rules(&self) -> Rules {
        Rules {
            granule: self.xlat_granule,
            write_execute_allowed: self.exception_level == ExceptionLevel::SEl1,
        }
    }

    /// Reads every region once, and checks those of the manifest against each other (P7, P11, P17).
    fn check_regions(&self) -> Result<(), ManifestError<'a>> {
        const MEMORY_FIX: &str =
            "write memory-regions { compatible = \"arm,ffa-manifest-memory-regions\"; ... };";
        const DEVICE_FIX: &str =
            "write device-regions { compatible = \"arm,ffa-manifest-device-regions\"; ... };";
        for (name, compatible, fix) in [
            (
                MEMORY_REGIONS,
                "arm,ffa-manifest-memory-regions",
                MEMORY_FIX,
            ),
            (
                DEVICE_REGIONS,
                "arm,ffa-manifest-device-regions",
                DEVICE_FIX,
            ),
        ] {
            let Some(node) = self.tree.child(name) else {
                continue;
            };
            node.require_compatible(compatible, fix)?;
            if node.children().next().is_none() {
                return Err(
                    node.error(Rule::RegionEmpty, "write a region into it, or leave it out")
                );
            }
        }
        let rules = self.region_rules();
        for (index, node) in self.nodes_in(MEMORY_REGIONS).enumerate() {
            let region = MemoryRegion::read(node, rules)?;
            region.check(node)?;
            for earlier in self.memory_regions().take(index) {
                if same_base_overlap(&region, &earlier) {
                    return Err(node
                        .field_error(region::BASE_ADDRESS, Rule::RegionOverlap)
                        .other(earlier.node.name));
                }
            }
        }
        for (index, node) in self.nodes_in(DEVICE_REGIONS).enumerate() {
            let region = DeviceRegion::read(node, rules)?;
            region.check(node)?;
            self.check_device(node, &region, index)?;
        }
        self.check_memory_streams()
    }

    /// A device against the memory regions and the devices before it.
    fn check_device(
        &self,
        node: Node<'_, 'a>,
        region: &DeviceRegion<'a>,
        index: usize,
    ) -> Result<(), ManifestError<'a>> {
        let overlap = |other: NodePath<'a>| {
            node.field_error(region::BASE_ADDRESS, Rule::RegionOverlap)
                .value(region.base)
                .other(other.name)
        };
        let absolute = |memory: &MemoryRegion<'a>| match memory.base {
            region::Placement::Absolute(_) => memory.range(0),
            _ => None,
        };
        if let Some(memory) = self
            .memory_regions()
            .find(|memory| absolute(memory).is_some_and(|range| range.overlaps(&region.range())))
        {
            return Err(overlap(memory.node));
        }
        for earlier in self.device_regions().take(index) {
            if earlier.range().overlaps(&region.range()) {
                return Err(overlap(earlier.node));
            }
            if let Some(shared) = region.interrupt_ids().find(|&id| earlier.has_interrupt(id)) {
                return Err(node
                    .field_error(region::INTERRUPTS, Rule::DuplicateInterrupt)
                    .value(u64::from(shared))
                    .other(earlier.node.name));
            }
            if earlier.smmu_id == region.smmu_id
                && let Some(shared) = region
                    .stream_ids()
                    .find(|stream| earlier.stream_ids().any(|other| other == *stream))
            {
                return Err(node
                    .field_error(region::STREAM_IDS, Rule::DuplicateStream)
                    .value(u64::from(shared))
                    .other(earlier.node.name));
            }
        }
        Ok(())
    }

    /// Each stream of a memory region belongs to a device of the partition (P17).
    fn check_memory_streams(&self) -> Result<(), ManifestError<'a>> {
        for node in self.nodes_in(MEMORY_REGIONS) {
            let memory = MemoryRegion::read(node, self.region_rules())?;
            for stream in memory.stream_ids() {
                let declared = self
                    .nodes_in(DEVICE_REGIONS)
                    .any(|device| region::device_has_stream(device, memory.smmu_id, stream));
                if !declared {
                    return Err(node
                        .field_error(region::STREAM_IDS, Rule::DmaPolicy)
                        .value(u64::from(stream)));
                }
            }
        }
        Ok(())
    }

    /// Resolves `rx_tx-info`.
    fn read_rx_tx(&self) -> Result<Option<RxTxBuffers<'a>>, ManifestError<'a>> {
        let Some(node) = self.tree.child(RX_TX_INFO) else {
            return Ok(None);
        };
        node.require_compatible(
            "arm,ffa-manifest-rx_tx-buffer",
            "write compatible = \"arm,ffa-manifest-rx_tx-buffer\";",
        )?;
        let resolve = |field: Field| {
            let phandle = node.require_u32(field)?;
            self.memory_regions()
                .find(|region| region.phandle() == Some(phandle))
                .ok_or_else(|| {
                    node.field_error(field, Rule::BadStructure)
                        .value(u64::from(phandle))
                })
        };
        let buffers = RxTxBuffers {
            rx: resolve(RX_BUFFER)?,
            tx: resolve(TX_BUFFER)?,
        };
        if buffers.rx.node == buffers.tx.node {
            return Err(node
                .field_error(TX_BUFFER, Rule::RegionOverlap)
                .other(buffers.rx.node.name));
        }
        if buffers.rx.size != buffers.tx.size {
            return Err(node
                .field_error(TX_BUFFER, Rule::BadLayout)
                .value(buffers.tx.pages));
        }
        Ok(Some(buffers))
    }
}

/// Whether two regions that are placed the same way overlap; [`crate::rules`] compares the others,
/// which takes the load address.
fn same_base_overlap(one: &MemoryRegion<'_>, other: &MemoryRegion<'_>) -> bool {
    use region::Placement::{Absolute, LoadRelative};
    match (one.base, other.base) {
        (Absolute(_), Absolute(_)) | (LoadRelative(_), LoadRelative(_)) => {
            match (one.range(0), other.range(0)) {
                (Some(one), Some(other)) => one.overlaps(&other),
                _ => false,
            }
        }
        _ => false,
    }
}

fn unknown<'a>(
    node: Node<'_, 'a>,
    known: &'static [&'static str],
) -> impl Iterator<Item = UnknownProperty<'a>> {
    let path = node.path();
    node.properties()
        .map(|(name, _)| name)
        .filter(|name| !known.contains(name))
        .map(move |name| UnknownProperty { node: path, name })
}

/// An optional property of defined values.
fn value<'a, T>(
    node: Node<'_, 'a>,
    field: Field,
    rule: Rule,
    meaning: impl Fn(u32) -> Option<T>,
) -> Result<Option<T>, ManifestError<'a>> {
    node.u32(field)?
        .map(|bits| {
            meaning(bits).ok_or_else(|| node.field_error(field, rule).value(u64::from(bits)))
        })
        .transpose()
}

/// A required property of defined values.
fn required_value<'a, T>(
    node: Node<'_, 'a>,
    field: Field,
    rule: Rule,
    meaning: impl Fn(u32) -> Option<T>,
) -> Result<T, ManifestError<'a>> {
    value(node, field, rule, meaning)?.ok_or_else(|| node.missing(field))
}

fn version<'a>(root: Node<'_, 'a>) -> Result<Version, ManifestError<'a>> {
    required_value(root, FFA_VERSION, Rule::NotCompatible, |word| {
        Version::from_word(word).filter(|version| {
            version.major == Version::OURS.major && version.minor <= Version::OURS.minor
        })
    })
}

fn contexts<'a>(root: Node<'_, 'a>, level: ExceptionLevel) -> Result<u32, ManifestError<'a>> {
    let count = root.require_u32(CONTEXTS)?;
    let error = |rule| Err(root.field_error(CONTEXTS, rule).value(u64::from(count)));
    match (count, level) {
        (0, _) => error(Rule::ExecutionContexts),
        (count, _) if count > MAX_CONTEXTS => error(Rule::ExecutionContexts),
        (2.., ExceptionLevel::SEl0) => error(Rule::NotCompatible),
        _ => Ok(count),
    }
}

fn boot_order<'a>(root: Node<'_, 'a>) -> Result<Option<u16>, ManifestError<'a>> {
    match root.integer(BOOT_ORDER)? {
        None | Some(LAST_IN_BOOT_ORDER) => Ok(None),
        Some(order) => match u16::try_from(order) {
            Ok(order) => Ok(Some(order)),
            Err(_) => Err(root.field_error(BOOT_ORDER, Rule::BootOrder).value(order)),
        },
    }
}

fn ns_action<'a>(
    root: Node<'_, 'a>,
    level: ExceptionLevel,
) -> Result<NsInterruptsAction, ManifestError<'a>> {
    let written = value(root, NS_ACTION, Rule::UnknownValue, |action| match action {
        0 => Some(NsInterruptsAction::Queued),
        1 => Some(NsInterruptsAction::ManagedExit),
        2 => Some(NsInterruptsAction::Signaled),
        _ => None,
    })?;
    let deprecated = root.flag(MANAGED_EXIT)?;
    let action = match written {
        _ if deprecated => NsInterruptsAction::ManagedExit,
        Some(action) => action,
        None => NsInterruptsAction::Signaled,
    };
    if action == NsInterruptsAction::ManagedExit && level != ExceptionLevel::SEl1 {
        let field = if deprecated { MANAGED_EXIT } else { NS_ACTION };
        return Err(root.field_error(field, Rule::NotCompatible));
    }
    Ok(action)
}

fn other_s_action<'a>(
    root: Node<'_, 'a>,
    ns_action: NsInterruptsAction,
) -> Result<OtherSInterruptsAction, ManifestError<'a>> {
    let action = value(
        root,
        OTHER_S_ACTION,
        Rule::UnknownValue,
        |action| match action {
            0 => Some(OtherSInterruptsAction::Queued),
            1 => Some(OtherSInterruptsAction::Signaled),
            _ => None,
        },
    )?
    .unwrap_or(OtherSInterruptsAction::Signaled);
    if action == OtherSInterruptsAction::Queued && ns_action != NsInterruptsAction::Queued {
        return Err(root
            .field_error(OTHER_S_ACTION, Rule::NotCompatible)
            .value(0));
    }
    Ok(action)
}

fn sri_policy<'a>(
    root: Node<'_, 'a>,
    level: ExceptionLevel,
) -> Result<SriPolicy, ManifestError<'a>> {
    let policy = value(root, SRI_POLICY, Rule::UnknownValue, |bits| {
        (bits & !3 == 0).then_some(SriPolicy {
            while_waiting: bits & 1 != 0,
            on_entering_wait: bits & 2 != 0,
        })
    })?
    .unwrap_or_default();
    if level == ExceptionLevel::SEl0 && policy != SriPolicy::default() {
        return Err(root.field_error(SRI_POLICY, Rule::NotCompatible));
    }
    Ok(policy)
}

fn boot_info<'a>(root: Node<'_, 'a>) -> Result<BootInfoWanted, ManifestError<'a>> {
    let Some(node) = root.child(BOOT_INFO) else {
        return Ok(BootInfoWanted::default());
    };
    node.require_compatible(
        "arm,ffa-manifest-boot-info",
        "write compatible = \"arm,ffa-manifest-boot-info\";",
    )?;
    Ok(BootInfoWanted {
        fdt: node.flag(BOOT_INFO_FDT)?,
        hob: node.flag(BOOT_INFO_HOB)?,
    })
}
