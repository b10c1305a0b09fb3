// SPDX-License-Identifier: MIT OR Apache-2.0
//! A partition's manifest: TF-A's `ffa-manifest-binding`, revisions 1.0 and 1.1 (B-01 to B-26).

mod fields;
mod interrupt_controller;
mod linked;
mod regions;

use bulkhead_abi::{Uuid, Version};

use crate::dt::{Node, Tree};
use crate::error::{Document, ManifestError, NodePath, Rule};
use crate::ipa;
use crate::known::{self, UnknownProperty, unknown};
use crate::policy::{
    AbortAction, BootInfoWanted, ExceptionLevel, ExecutionState, LiveRegister, MessagingMethod,
    NsInterruptsAction, OtherSInterruptsAction, PowerMessages, SriPolicy, VmMessages, XlatGranule,
};
use crate::range::Range;
use crate::region::{DeviceRegion, MemoryRegion, Rules};
use crate::service::{self, Binding, Service};
use crate::spmc;

pub(crate) use fields::{
    ABORT_ACTION, BOOT_ORDER, CONTEXTS, ENTRYPOINT, EXECUTION_STATE, GP_REGISTER_PACKAGE, ID,
    LOAD_ADDRESS, MEM_SIZE, REQUEST_QUEUE,
};
pub use interrupt_controller::VirtualInterruptController;
pub(crate) use interrupt_controller::{CPU_INTERFACE, DISTRIBUTOR};
pub(crate) use regions::claimed;

/// `compatible` of the root, by revision of the binding.
const COMPATIBLE_1_0: &str = "arm,ffa-manifest-1.0";
const COMPATIBLE_1_1: &str = "arm,ffa-manifest-1.1";

const MEMORY_REGIONS: &str = "memory-regions";
const DEVICE_REGIONS: &str = "device-regions";

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
    /// `bulkhead,request-queue`: how many requests of the normal world may wait for the partition while it is
    /// busy, up to 8; 0 where the manifest does not say (E-16).
    pub request_queue: u8,
    /// `bulkhead,run-timeout-ms`: how long the partition may keep non-secure interrupts waiting; `None` leaves
    /// it to the SPMC (DECISIONS 24).
    pub run_timeout_ms: Option<u32>,
    /// `bulkhead,interrupt-share`: how much of a core's time a context may spend in RTM_SEC_INTERRUPT, in percent.
    pub interrupt_share: u8,
    /// `bulkhead,virtual-counter-from-boot`: the virtual counter is zero when the partition starts; otherwise it
    /// is the physical counter (F-13).
    pub virtual_counter_from_boot: bool,
    /// `bulkhead,virtual-serror`: an SError while the partition runs becomes a virtual one; otherwise it ends the
    /// partition.
    pub virtual_serror: bool,
    /// The partition knows all lifecycle states.
    pub lifecycle_support: bool,
    /// What a fatal error of the partition leads to; `None` leaves it to the SPMC.
    pub abort_action: Option<AbortAction>,
    /// The partition says that it has the primary scheduler: kept, and without effect (B-17).
    pub has_primary_scheduler: bool,
    /// The partition does not expect long memory management calls to be cut (B-17).
    pub time_slice_mem: bool,
    /// Whether and how the partition's image can be replaced while the system runs (B-23).
    pub live_activation: LiveActivation<'a>,
    /// `bulkhead,ipa-base`: where the partition sees its own memory, if not where that is.
    pub ipa_base: Option<u64>,
    /// `bulkhead,retrieved-memory-base` and `-size`: where it gets what it retrieves, if not where that is.
    pub retrieved_memory: Option<Range>,
    /// The buffers that the SPMC maps before the partition runs.
    pub rx_tx: Option<RxTxBuffers<'a>>,
    /// `bulkhead,interrupt-controller`: a GIC of its own, in place of paravirtual interrupts (C-18).
    pub interrupt_controller: Option<VirtualInterruptController>,
}

/// The RX and TX buffers of a partition whose manifest describes them (B-12).
#[derive(Clone, Copy, Debug)]
pub struct RxTxBuffers<'a> {
    /// The partition reads messages from it.
    pub rx: MemoryRegion<'a>,
    /// The partition writes messages to it.
    pub tx: MemoryRegion<'a>,
}

/// What a manifest says of live activation (B-23): kept for whoever implements it.
#[derive(Clone, Copy, Debug, Default)]
pub struct LiveActivation<'a> {
    /// `live-activation-support`.
    pub support: bool,
    /// `live-activation-register`.
    pub register: LiveRegister,
    /// `image-uuid`: the image's, not a service's.
    pub image_uuid: Option<Uuid>,
    /// The memory region that `live-state-buffer-info` names.
    pub state_buffer: Option<MemoryRegion<'a>>,
}

impl<'a> SpManifest<'a> {
    /// Parses and checks a partition's manifest.
    ///
    /// # Errors
    /// The first rule that it breaks, with the node and the property.
    pub fn parse(dtb: &'a [u8]) -> Result<Self, ManifestError<'a>> {
        let tree = Tree::parse(dtb, Document::Partition)?;
        let mut manifest = Self::read(tree, &tree)?;
        manifest.check_regions()?;
        manifest.rx_tx = manifest.read_rx_tx()?;
        manifest.interrupt_controller = manifest.read_interrupt_controller()?;
        manifest.live_activation.state_buffer = manifest.read_live_state()?;
        Ok(manifest)
    }

    fn read(tree: Tree<'a>, borrowed: &Tree<'a>) -> Result<Self, ManifestError<'a>> {
        let root = borrowed.root().ok_or(ManifestError::new(
            Document::Partition,
            NodePath::ROOT,
            Rule::MissingNode,
            "write a root node",
        ))?;
        let binding = if root.is_compatible(COMPATIBLE_1_0) {
            Binding::V1_0
        } else if root.is_compatible(COMPATIBLE_1_1) {
            Binding::V1_1
        } else {
            return Err(root.field_error(fields::COMPATIBLE, Rule::NotCompatible));
        };
        let ffa_version = fields::version(root)?;
        let exception_level = fields::exception_level(root)?;
        let ns_interrupts_action = fields::ns_action(root, exception_level)?;
        Ok(Self {
            tree,
            binding,
            ffa_version,
            id: root.u32(ID)?,
            auxiliary_id: fields::auxiliary_id(root)?,
            description: fields::description(root)?,
            execution_ctx_count: fields::contexts(root, exception_level)?,
            exception_level,
            execution_state: fields::execution_state(root)?,
            load_address: root.integer(LOAD_ADDRESS)?,
            entrypoint_offset: root.integer(ENTRYPOINT)?.unwrap_or(0),
            mem_size: root.integer(MEM_SIZE)?,
            xlat_granule: fields::granule(root)?,
            boot_order: fields::boot_order(root)?,
            messaging_method: service::check(root, binding, ffa_version)?,
            ns_interrupts_action,
            managed_exit_virq: root.flag(fields::MANAGED_EXIT_VIRQ)?,
            other_s_interrupts_action: fields::other_s_action(root, ns_interrupts_action)?,
            sri_policy: fields::sri_policy(root, exception_level)?,
            notification_support: root.flag(fields::NOTIFICATIONS)?,
            gp_register_num: fields::gp_register(root)?,
            boot_info: linked::boot_info(root)?,
            power_management_messages: fields::power_messages(root)?,
            vm_availability_messages: fields::vm_messages(root)?,
            request_queue: fields::request_queue(root)?,
            run_timeout_ms: spmc::timeout(root, fields::RUN_TIMEOUT)?,
            interrupt_share: fields::interrupt_share(root)?,
            virtual_counter_from_boot: root.flag(fields::COUNTER_FROM_BOOT)?,
            virtual_serror: root.flag(fields::VIRTUAL_SERROR)?,
            lifecycle_support: root.flag(fields::LIFECYCLE)?,
            abort_action: fields::abort_action(root)?,
            has_primary_scheduler: root.flag(fields::HAS_SCHEDULER)?,
            time_slice_mem: root.flag(fields::TIME_SLICE)?,
            live_activation: LiveActivation {
                support: root.flag(fields::LIVE_SUPPORT)?,
                register: fields::live_register(root)?,
                image_uuid: fields::image_uuid(root)?,
                state_buffer: None,
            },
            ipa_base: ipa::address(root, ipa::BASE, 0)?,
            retrieved_memory: ipa::retrieved(root)?,
            rx_tx: None,
            interrupt_controller: None,
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

    /// Properties that no binding defines: each name once, with the first node that has it, and no more
    /// than 16 (B-26).
    pub fn unknown_properties(&self) -> impl Iterator<Item = UnknownProperty<'a>> {
        let of_children = |name, known| {
            self.nodes_in(name)
                .flat_map(move |node| unknown(node, known))
        };
        let of_node = |name, known| {
            self.tree
                .child(name)
                .into_iter()
                .flat_map(move |node| unknown(node, known))
        };
        let root = self.tree.root().into_iter();
        known::once(
            root.flat_map(|root| unknown(root, &known::SP_ROOT))
                .chain(of_node(linked::BOOT_INFO, &known::BOOT_INFO))
                .chain(of_node(linked::RX_TX_INFO, &known::RX_TX_INFO))
                .chain(of_node(linked::LIVE_STATE, &known::LIVE_STATE))
                .chain(of_node(
                    interrupt_controller::NODE,
                    &known::INTERRUPT_CONTROLLER,
                ))
                .chain(of_children(service::SERVICES, &known::SERVICE))
                .chain(of_children(MEMORY_REGIONS, &known::MEMORY_REGION))
                .chain(of_children(DEVICE_REGIONS, &known::DEVICE_REGION)),
        )
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
}
