// SPDX-License-Identifier: MIT OR Apache-2.0
//! A second reading of manifests, by dtoolkit and without the crate's own code: what an accepted manifest says
//! must be what stands there, and must satisfy every rule.

use bulkhead_manifest::{
    ExceptionLevel, ExecutionState, MemoryKind, NsInterruptsAction, OtherSInterruptsAction,
    Placement, Range, RegionAttributes, SpManifest, SpmcManifest,
};
use dtoolkit::error::FdtParseError;
use dtoolkit::fdt::{Fdt, FdtNode};
use dtoolkit::{Node as _, Property as _};

/// The tree, if dtoolkit reads it.
pub fn tree(bytes: &[u8]) -> Result<Fdt<'_>, FdtParseError> {
    Fdt::new(bytes)
}

fn get(node: FdtNode<'_>, name: &str) -> Option<Vec<u8>> {
    node.properties()
        .find(|property| property.name() == name)
        .map(|property| property.value().to_vec())
}

fn child<'a>(node: FdtNode<'a>, name: &str) -> Option<FdtNode<'a>> {
    node.children().find(|child| child.name() == name)
}

fn children<'a>(node: FdtNode<'a>, name: &str) -> Vec<FdtNode<'a>> {
    child(node, name).map_or_else(Vec::new, |node| node.children().collect())
}

fn number(bytes: &[u8]) -> u64 {
    match bytes.len() {
        4 => u32::from_be_bytes(bytes.try_into().unwrap()).into(),
        8 => u64::from_be_bytes(bytes.try_into().unwrap()),
        length => panic!("a number of {length} bytes"),
    }
}

fn integer(node: FdtNode<'_>, name: &str) -> Option<u64> {
    get(node, name).map(|value| number(&value))
}

fn flag(node: FdtNode<'_>, name: &str) -> bool {
    get(node, name).is_some_and(|value| {
        assert!(value.is_empty(), "{name}");
        true
    })
}

fn cells(bytes: &[u8]) -> Vec<u32> {
    assert!(bytes.len().is_multiple_of(4));
    bytes
        .chunks(4)
        .map(|cell| u32::from_be_bytes(cell.try_into().unwrap()))
        .collect()
}

fn is_compatible(node: FdtNode<'_>, wanted: &str) -> bool {
    get(node, "compatible").is_some_and(|list| {
        list.split(|&byte| byte == 0)
            .any(|text| text == wanted.as_bytes())
    })
}

fn distinct<T: PartialEq + std::fmt::Debug>(all: &[T]) {
    for (index, one) in all.iter().enumerate() {
        assert!(!all[..index].contains(one), "{one:?} twice");
    }
}

fn apart(ranges: &[Range]) {
    for (index, one) in ranges.iter().enumerate() {
        for other in &ranges[..index] {
            let (one, other) = (
                u128::from(one.base)..u128::from(one.base) + u128::from(one.size),
                u128::from(other.base)..u128::from(other.base) + u128::from(other.size),
            );
            assert!(
                one.end <= other.start || other.end <= one.start,
                "{one:?} {other:?}"
            );
        }
    }
}

/// The text of a UUID that stands as four cells: the registers' bytes in memory order.
fn uuid_text(cells: &[u32]) -> String {
    let hex: String = cells
        .iter()
        .flat_map(|cell| cell.to_le_bytes())
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}

/// A partition's manifest that the crate accepted.
pub fn check_sp(tree: &Fdt<'_>, sp: &SpManifest<'_>) {
    let root = tree.root();
    let required = |name| integer(root, name).unwrap_or_else(|| panic!("{name} is missing"));
    let word = required("ffa-version");
    assert!((0x1_0000..=0x1_0003).contains(&word), "{word:#x}");
    assert_eq!(
        (u64::from(sp.ffa_version.major) << 16) | u64::from(sp.ffa_version.minor),
        word
    );

    let level = required("exception-level");
    let contexts = required("execution-ctx-count");
    assert_eq!(u64::from(sp.execution_ctx_count), contexts);
    assert!((1..=0xffff).contains(&contexts));
    match level {
        1 => {
            assert_eq!((sp.exception_level, contexts), (ExceptionLevel::SEl0, 1));
        }
        2 => assert_eq!(sp.exception_level, ExceptionLevel::SEl1),
        level => panic!("exception level {level}"),
    }
    match required("execution-state") {
        0 => assert_eq!(sp.execution_state, ExecutionState::AArch64),
        1 => assert_eq!(sp.execution_state, ExecutionState::AArch32),
        state => panic!("execution state {state}"),
    }
    check_services(root, word, sp);
    check_actions(root, level, sp);

    assert_eq!(sp.id.map(u64::from), integer(root, "id"));
    assert_eq!(
        sp.auxiliary_id.map(u64::from),
        integer(root, "auxiliary-id")
    );
    assert_eq!(sp.load_address, integer(root, "load-address"));
    assert_eq!(
        sp.entrypoint_offset,
        integer(root, "entrypoint-offset").unwrap_or(0)
    );
    assert_eq!(sp.mem_size, integer(root, "mem-size"));
    let granule = [0x1000, 0x4000, 0x1_0000]
        [usize::try_from(integer(root, "xlat-granule").unwrap_or(0)).unwrap()];
    assert_eq!(sp.xlat_granule.bytes(), granule);
    let order = integer(root, "boot-order").filter(|&order| order != 0xffff);
    assert_eq!(sp.boot_order.map(u64::from), order);
    assert_eq!(sp.notification_support, flag(root, "notification-support"));
    assert_eq!(sp.lifecycle_support, flag(root, "lifecycle-support"));
    assert_eq!(
        sp.gp_register_num.map(u64::from),
        integer(root, "gp-register-num")
    );
    assert!(sp.gp_register_num.is_none_or(|register| register <= 3));
    let abort = sp.abort_action.map(|action| action as u64);
    assert_eq!(abort, integer(root, "abort-action"));
    let boot_info = child(root, "boot-info");
    assert_eq!(
        sp.boot_info.fdt,
        boot_info.is_some_and(|node| flag(node, "ffa_manifest"))
    );
    assert_eq!(
        sp.boot_info.hob,
        boot_info.is_some_and(|node| flag(node, "hob_list"))
    );
    check_regions(root, granule, level, sp);
}

fn check_services(root: FdtNode<'_>, version: u64, sp: &SpManifest<'_>) {
    let (uuids, methods): (Vec<String>, Vec<u32>) = if is_compatible(root, "arm,ffa-manifest-1.0") {
        let uuids: Vec<_> = cells(&get(root, "uuid").unwrap())
            .chunks(4)
            .map(uuid_text)
            .collect();
        let mut methods = cells(&get(root, "messaging-method").unwrap());
        if methods.len() == 1 {
            methods = vec![methods[0]; uuids.len()];
        }
        (uuids, methods)
    } else {
        assert!(is_compatible(root, "arm,ffa-manifest-1.1"));
        let text = |node| {
            let value = get(node, "uuid").unwrap();
            String::from_utf8(value[..value.len() - 1].to_vec())
                .unwrap()
                .to_lowercase()
        };
        let method = |node| u32::try_from(integer(node, "messaging-method").unwrap()).unwrap();
        let nodes = children(root, "services");
        (
            nodes.iter().map(|&node| text(node)).collect(),
            nodes.iter().map(|&node| method(node)).collect(),
        )
    };
    assert!(!uuids.is_empty() && !uuids.contains(&uuid_text(&[0; 4])));
    distinct(&uuids);
    assert_eq!(
        sp.uuids().map(|uuid| uuid.to_string()).collect::<Vec<_>>(),
        uuids
    );
    assert_eq!(
        sp.services()
            .map(|service| service.messaging.bits())
            .collect::<Vec<_>>(),
        methods
    );
    for method in methods {
        assert_eq!(method & !0x607, 0);
        assert!(method & 0x600 == 0 || version >= 0x1_0002);
    }
}

fn check_actions(root: FdtNode<'_>, level: u64, sp: &SpManifest<'_>) {
    let ns = match (
        flag(root, "managed-exit"),
        integer(root, "ns-interrupts-action"),
    ) {
        (true, _) | (_, Some(1)) => NsInterruptsAction::ManagedExit,
        (_, None | Some(2)) => NsInterruptsAction::Signaled,
        (_, Some(0)) => NsInterruptsAction::Queued,
        (_, Some(action)) => panic!("ns-interrupts-action {action}"),
    };
    assert_eq!(sp.ns_interrupts_action, ns);
    assert!(ns != NsInterruptsAction::ManagedExit || level == 2);
    match integer(root, "other-s-interrupts-action") {
        Some(0) => {
            assert_eq!(sp.other_s_interrupts_action, OtherSInterruptsAction::Queued);
            assert_eq!(ns, NsInterruptsAction::Queued);
        }
        other => {
            assert!(matches!(other, None | Some(1)));
            assert_eq!(
                sp.other_s_interrupts_action,
                OtherSInterruptsAction::Signaled
            );
        }
    }
    let power = integer(root, "power-management-messages");
    assert!(power.is_none_or(|bits| bits <= 7));
    assert_eq!(sp.power_management_messages.is_some(), power.is_some());
    let vm = integer(root, "vm-availability-messages").unwrap_or(0);
    assert!(vm <= 3);
    assert_eq!(sp.vm_availability_messages.created, vm & 1 != 0);
    assert_eq!(sp.vm_availability_messages.destroyed, vm & 2 != 0);
    let sri = integer(root, "sri-interrupts-policy").unwrap_or(0);
    assert!(sri <= 3 && (sri == 0 || level == 2));
}

fn bits(attributes: RegionAttributes) -> u64 {
    u64::from(attributes.read)
        | u64::from(attributes.write) << 1
        | u64::from(attributes.execute) << 2
        | u64::from(attributes.non_secure) << 3
}

/// A region's place, checked: page-aligned, not empty, within 64 bits.
fn place(node: FdtNode<'_>, start: u64, granule: u64) -> Range {
    let pages = integer(node, "pages-count").unwrap();
    assert!(pages != 0 && start.is_multiple_of(granule));
    let size = pages.checked_mul(granule).unwrap();
    Range::new(start, size).unwrap()
}

fn check_regions(root: FdtNode<'_>, granule: u64, level: u64, sp: &SpManifest<'_>) {
    let (mut absolute, mut relative) = (Vec::new(), Vec::new());
    let nodes = children(root, "memory-regions");
    assert_eq!(sp.memory_regions().count(), nodes.len());
    for (region, node) in sp.memory_regions().zip(nodes) {
        assert_eq!(region.node.name, node.name());
        let given = bits(region.attributes);
        assert_eq!(Some(given), integer(node, "attributes"));
        assert!(matches!(given, 1 | 3 | 5 | 9 | 11) || (given == 7 && level == 2));
        match (
            integer(node, "base-address"),
            integer(node, "load-address-relative-offset"),
        ) {
            (Some(base), None) => {
                assert_eq!(region.base, Placement::Absolute(base));
                absolute.push(place(node, base, granule));
                assert_eq!(region.range(0), absolute.last().copied());
            }
            (None, Some(offset)) => {
                assert_eq!(region.base, Placement::LoadRelative(offset));
                relative.push(place(node, offset, granule));
                assert_eq!(region.range(0), relative.last().copied());
            }
            (None, None) => assert_eq!(region.base, Placement::Dynamic),
            both => panic!("{both:?}"),
        }
    }
    apart(&relative);
    let nodes = children(root, "device-regions");
    assert_eq!(sp.device_regions().count(), nodes.len());
    let mut interrupts = Vec::new();
    for (region, node) in sp.device_regions().zip(nodes) {
        let given = bits(region.attributes);
        assert_eq!(Some(given), integer(node, "attributes"));
        assert!(matches!(given, 1 | 3 | 9 | 11));
        let range = place(node, integer(node, "base-address").unwrap(), granule);
        assert_eq!(region.range(), range);
        absolute.push(range);
        assert_eq!(region.exclusive, flag(node, "exclusive-access"));
        let list = get(node, "interrupts")
            .map(|list| cells(&list))
            .unwrap_or_default();
        let pairs: Vec<_> = list.chunks(2).map(|pair| (pair[0], pair[1])).collect();
        let read: Vec<_> = region
            .interrupts()
            .map(|interrupt| (interrupt.id, interrupt.bits))
            .collect();
        assert_eq!(read, pairs);
        for (id, attributes) in pairs {
            assert!(matches!(id, 0..1020 | 1056..1120 | 4096..5120), "{id}");
            assert!(attributes < 0xc00, "{attributes:#x}");
            interrupts.push(id);
        }
    }
    distinct(&interrupts);
    apart(&absolute);
    for buffer in sp.rx_tx.iter().flat_map(|buffers| [buffers.rx, buffers.tx]) {
        assert!(sp.memory_regions().any(|region| region.node == buffer.node));
    }
}

/// An SPMC manifest that the crate accepted.
pub fn check_spmc(tree: &Fdt<'_>, spmc: &SpmcManifest<'_>) {
    let root = tree.root();
    assert!(is_compatible(root, "arm,ffa-core-manifest-1.0"));
    let attribute = child(root, "attribute").unwrap();
    let id = integer(attribute, "spmc_id").unwrap();
    assert!((0x8000..0xffff).contains(&id));
    assert_eq!(u64::from(spmc.id.0), id);
    assert_eq!(integer(attribute, "maj_ver"), Some(1));
    assert!(integer(attribute, "min_ver").unwrap() <= 3);
    assert_eq!(integer(attribute, "exec_state").unwrap_or(0), 0);
    assert_eq!(
        spmc.load_address,
        integer(attribute, "load_address").unwrap_or(0)
    );
    assert_eq!(
        spmc.entrypoint,
        integer(attribute, "entrypoint").unwrap_or(0)
    );
    assert_eq!(
        spmc.binary_size,
        integer(attribute, "binary_size").unwrap_or(0)
    );
    assert!(is_compatible(
        child(root, "hypervisor").unwrap(),
        "hafnium,hafnium"
    ));

    let vms: Vec<_> = children(root, "hypervisor")
        .into_iter()
        .filter(|node| {
            node.name().starts_with("vm")
                && node
                    .name()
                    .as_bytes()
                    .get(2)
                    .is_some_and(u8::is_ascii_digit)
        })
        .collect();
    assert_eq!(usize::try_from(spmc.partition_count()).unwrap(), vms.len());
    assert_eq!(spmc.partitions().count(), vms.len());
    for (vm, index) in spmc.partitions().zip(1_u32..) {
        let node = *vms
            .iter()
            .find(|node| node.name() == format!("vm{index}"))
            .unwrap();
        assert_eq!((vm.index, u32::from(vm.id.0)), (index, 0x8000 + index));
        assert_ne!(vm.id, spmc.id);
        assert!(flag(node, "is_ffa_partition"));
        let name = get(node, "debug_name").unwrap();
        assert_eq!(vm.debug_name.as_bytes(), &name[..name.len() - 1]);
        assert_eq!(Some(vm.load_address), integer(node, "load_address"));
        assert!(vm.load_address != 0 && vm.load_address.is_multiple_of(0x1000));
        assert_eq!(vm.mem_size, integer(node, "mem_size"));
        assert!(
            vm.mem_size
                .is_none_or(|size| size != 0 && vm.load_address.checked_add(size).is_some())
        );
        assert_eq!(vm.vcpu_count.map(u64::from), integer(node, "vcpu_count"));
        assert!(
            vm.vcpu_count
                .is_none_or(|count| (1..=0xffff).contains(&count))
        );
        let allowed = get(node, "smc_whitelist")
            .map(|list| cells(&list))
            .unwrap_or_default();
        assert_eq!(vm.smc_whitelist().collect::<Vec<_>>(), allowed);
    }
    check_machine(root, spmc);
}

fn check_machine(root: FdtNode<'_>, spmc: &SpmcManifest<'_>) {
    let cpus: Vec<_> = spmc.cpus().collect();
    let nodes = children(root, "cpus");
    let nodes = nodes
        .iter()
        .filter(|node| node.name().split('@').next() == Some("cpu"));
    assert_eq!(cpus.len(), nodes.count());
    assert!(!cpus.is_empty());
    distinct(&cpus);

    let width =
        |name, default| usize::try_from(integer(root, name).unwrap_or(default)).unwrap() * 4;
    let (address, size) = (width("#address-cells", 2), width("#size-cells", 1));
    for kind in MemoryKind::ALL {
        let mut ranges = Vec::new();
        for node in root.children() {
            let wanted = format!("{}\0", kind.device_type());
            if get(node, "device_type").as_deref() == Some(wanted.as_bytes()) {
                for entry in get(node, "reg").unwrap().chunks(address + size) {
                    let length = if size == 0 {
                        0
                    } else {
                        number(&entry[address..])
                    };
                    ranges.push(Range::new(number(&entry[..address]), length).unwrap());
                }
            }
        }
        assert_eq!(spmc.memory(kind).collect::<Vec<_>>(), ranges);
        if matches!(kind, MemoryKind::Secure | MemoryKind::NonSecure) {
            assert!(ranges.iter().all(
                |range| range.base.is_multiple_of(0x1000) && range.size.is_multiple_of(0x1000)
            ));
        }
        if kind == MemoryKind::Secure {
            assert!(ranges.iter().any(|range| range.size != 0));
        }
    }
}
