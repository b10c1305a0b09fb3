// SPDX-License-Identifier: MIT OR Apache-2.0
//! `arm-ffa` 0.5.0 as a second opinion on registers, partition information and boot information.
//!
//! Where it panics it is not asked: 64-bit direct messages and FFA_SUCCESS below 1.2, partition
//! information at 1.0 and 1.3, boot information outside 1.1 and 1.2; and its errors are never
//! converted to FF-A codes, which for some never ends.

use std::ffi::CStr;

use arm_ffa::interface_args::{DirectMsgArgs, MemAddr, SuccessArgs};
use arm_ffa::memory_management::MemPermissionsGetSet;
use arm_ffa::notification::{SuccessArgsNotificationInfoGet32, SuccessArgsNotificationInfoGet64};
use arm_ffa::partition_info::PartitionInfoIterator;
use arm_ffa::{Interface, boot_info as theirs_boot};
use bulkhead_abi::framework::Flags;
use bulkhead_abi::function::{self, Call};
use bulkhead_abi::memory::registers::{
    Fragment, Lengths, PagePermissions, PermissionRange, Reclaim,
};
use bulkhead_abi::notification::{Binding, BitmapCreate, Get, InfoLists, Scope, Set, bitmap_owner};
use bulkhead_abi::partition_info::{self, PartitionInfo, Properties, RegsRequest, Wanted};
use bulkhead_abi::{
    EndpointId, FfaError, Function, Registers, Uuid, VcpuIndex, Version, Width, World, boot_info,
    cycles, reserved,
};
use proptest::prelude::*;

const VERSIONS: [Version; 4] = [Version::V1_0, Version::V1_1, Version::V1_2, Version::V1_3];

fn version_for(version: Version) -> arm_ffa::Version {
    arm_ffa::Version(version.major, version.minor)
}

/// What a call says, as words to compare; `None` when it is refused.
type Meaning = Option<Vec<u64>>;

fn ours(function: Function, width: Width, version: Version, call: &Registers) -> Meaning {
    reserved::check(function, width, version, call).ok()?;
    let id = |id: EndpointId| u64::from(id.0);
    let words = |uuid: Uuid| {
        let (low, high) = uuid.to_pair();
        [low, high]
    };
    Some(match function {
        Function::MemDonate | Function::MemLend | Function::MemShare | Function::MemRetrieveReq => {
            let lengths = Lengths::decode(call).ok()?;
            vec![lengths.total.into(), lengths.fragment.into()]
        }
        Function::MemReclaim => {
            let reclaim = Reclaim::decode(call);
            vec![reclaim.handle.0, reclaim.flags.into()]
        }
        Function::MemFragRx | Function::MemFragTx => {
            let fragment = Fragment::decode(call);
            let endpoint = id(fragment.endpoint);
            vec![fragment.handle.0, fragment.position.into(), endpoint]
        }
        Function::MemPermGet => {
            let range = PermissionRange::get(call, width, version).ok()?;
            vec![range.address, range.page_count.into()]
        }
        Function::MemPermSet => {
            let range = PermissionRange::set(call, width).ok()?;
            let permissions = PagePermissions::decode(call.w::<3>()).ok()?;
            let permissions = permissions.encode().into();
            vec![range.address, range.page_count.into(), permissions]
        }
        Function::NotificationBitmapCreate => {
            let create = BitmapCreate::decode(call);
            vec![id(create.vm), create.vcpu_count.into()]
        }
        Function::NotificationBitmapDestroy => vec![id(bitmap_owner(call))],
        Function::NotificationBind => {
            let bind = Binding::bind(call).ok()?;
            let scope = u64::from(bind.scope == Scope::PerVcpu);
            vec![
                id(bind.sender),
                id(bind.receiver),
                scope,
                bind.bitmap.first_word(),
            ]
        }
        Function::NotificationUnbind => {
            let unbind = Binding::unbind(call).ok()?;
            vec![
                id(unbind.sender),
                id(unbind.receiver),
                unbind.bitmap.first_word(),
            ]
        }
        Function::NotificationSet => {
            let set = Set::decode(call).ok()?;
            let vcpu = set.vcpu.map_or(u64::MAX, |vcpu| vcpu.0.into());
            let delayed =
                set.schedule_receiver == bulkhead_abi::notification::ScheduleReceiver::Delayed;
            vec![
                id(set.sender),
                id(set.receiver),
                vcpu,
                delayed.into(),
                set.bitmap.first_word(),
            ]
        }
        Function::NotificationGet => {
            let get = Get::decode(call);
            vec![id(get.receiver), get.vcpu.0.into(), get.flags.into()]
        }
        Function::PartitionInfoGet => {
            let wanted = Wanted::decode(call.w::<5>()).ok()?;
            let [low, high] = words(call.uuid_w1_w4());
            vec![low, high, (wanted == Wanted::Count).into()]
        }
        Function::PartitionInfoGetRegs => {
            let request = RegsRequest::decode(call.x::<3>());
            let [low, high] = words(call.uuid_x1_x2());
            vec![low, high, request.start.into(), request.tag.into()]
        }
        Function::MsgSendDirectReq | Function::MsgSendDirectResp => {
            let Flags::Partition = Flags::decode(call.w::<2>()).ok()? else {
                return None;
            };
            let mut to = Registers::ZERO;
            to.copy_direct_payload(call, width);
            let mut all = vec![id(call.sender()), id(call.receiver())];
            all.extend(&to.x[3..8]);
            all
        }
        Function::MsgSendDirectReq2 => {
            let mut all = vec![id(call.sender()), id(call.receiver())];
            all.extend(words(call.uuid_x2_x3()));
            let mut to = Registers::ZERO;
            to.copy_direct2_payload(call);
            all.extend(&to.x[4..18]);
            all
        }
        Function::Run => {
            let target = cycles::Target::decode(call);
            vec![id(target.endpoint), target.vcpu.0.into()]
        }
        Function::MsgWait => vec![(call.w::<2>() & 1).into()],
        _ => return None,
    })
}

fn words_of(uuid: arm_ffa::Uuid) -> [u64; 2] {
    let (low, high) = Uuid(*uuid.as_bytes()).to_pair();
    [low, high]
}

fn address(address: MemAddr) -> u64 {
    match address {
        MemAddr::Addr32(address) => address.into(),
        MemAddr::Addr64(address) => address,
    }
}

fn theirs(version: Version, call: &Registers) -> Meaning {
    let interface = Interface::from_regs(version_for(version), &call.x).ok()?;
    Some(match interface {
        Interface::MemDonate {
            total_len,
            frag_len,
            ..
        }
        | Interface::MemLend {
            total_len,
            frag_len,
            ..
        }
        | Interface::MemShare {
            total_len,
            frag_len,
            ..
        }
        | Interface::MemRetrieveReq {
            total_len,
            frag_len,
            ..
        } => {
            vec![total_len.into(), frag_len.into()]
        }
        Interface::MemReclaim { handle, flags } => vec![handle.0, u32::from(flags).into()],
        Interface::MemFragRx {
            handle,
            frag_offset,
            endpoint_id,
        } => {
            vec![handle.0, frag_offset.into(), endpoint_id.into()]
        }
        Interface::MemFragTx {
            handle,
            frag_len,
            endpoint_id,
        } => {
            vec![handle.0, frag_len.into(), endpoint_id.into()]
        }
        Interface::MemPermGet { addr, page_cnt } => vec![address(addr), page_cnt.into()],
        Interface::MemPermSet {
            addr,
            page_cnt,
            mem_perm,
        } => {
            let permissions: u32 = MemPermissionsGetSet::into(mem_perm);
            vec![address(addr), page_cnt.into(), permissions.into()]
        }
        Interface::NotificationBitmapCreate { vm_id, vcpu_cnt } => {
            vec![vm_id.into(), vcpu_cnt.into()]
        }
        Interface::NotificationBitmapDestroy { vm_id } => vec![vm_id.into()],
        Interface::NotificationBind {
            sender_id,
            receiver_id,
            flags,
            bitmap,
        } => {
            let scope = flags.per_vcpu_notification.into();
            vec![sender_id.into(), receiver_id.into(), scope, bitmap]
        }
        Interface::NotificationUnbind {
            sender_id,
            receiver_id,
            bitmap,
        } => {
            vec![sender_id.into(), receiver_id.into(), bitmap]
        }
        Interface::NotificationSet {
            sender_id,
            receiver_id,
            flags,
            bitmap,
        } => {
            let vcpu = flags.vcpu_id.map_or(u64::MAX, u64::from);
            let delayed = flags.delay_schedule_receiver.into();
            vec![sender_id.into(), receiver_id.into(), vcpu, delayed, bitmap]
        }
        Interface::NotificationGet {
            vcpu_id,
            endpoint_id,
            flags,
        } => {
            vec![endpoint_id.into(), vcpu_id.into(), u32::from(flags).into()]
        }
        Interface::PartitionInfoGet { uuid, flags } => {
            let [low, high] = words_of(uuid);
            vec![low, high, flags.count_only.into()]
        }
        Interface::PartitionInfoGetRegs {
            uuid,
            start_index,
            info_tag,
        } => {
            let [low, high] = words_of(uuid);
            vec![low, high, start_index.into(), info_tag.into()]
        }
        Interface::MsgSendDirectReq {
            src_id,
            dst_id,
            args,
        }
        | Interface::MsgSendDirectResp {
            src_id,
            dst_id,
            args,
        } => {
            let mut all = vec![src_id.into(), dst_id.into()];
            match args {
                DirectMsgArgs::Args32(args) => all.extend(args.map(u64::from)),
                DirectMsgArgs::Args64(args) => all.extend(&args[..5]),
                _ => return None,
            }
            all
        }
        Interface::MsgSendDirectReq2 {
            src_id,
            dst_id,
            uuid,
            args,
        } => {
            let mut all = vec![src_id.into(), dst_id.into()];
            all.extend(words_of(uuid));
            all.extend(args.0);
            all
        }
        Interface::Run { target_info, .. } => {
            vec![target_info.endpoint_id.into(), target_info.vcpu_id.into()]
        }
        Interface::MsgWait { flags, .. } => vec![flags.retain_rx_buffer.into()],
        _ => return None,
    })
}

/// Where we refuse what `arm-ffa` accepts, and why.
fn ours_is_stricter(function: Function) -> bool {
    matches!(
        function,
        // Empty fragments, fragments longer than the whole, dynamic buffers (S1, S2, S4).
        Function::MemDonate | Function::MemLend | Function::MemShare | Function::MemRetrieveReq
        // Unaligned and wrapping ranges, no pages, reserved bits, W and X (T25).
        | Function::MemPermGet | Function::MemPermSet
        // Reserved flags and empty bitmaps (N4, N7, N9, A-31).
        | Function::NotificationBind | Function::NotificationUnbind
        | Function::NotificationSet | Function::NotificationGet
        // Reserved registers (G31, G8).
        | Function::MsgWait | Function::MsgSendDirectReq | Function::MsgSendDirectResp
    )
}

/// Where we accept what `arm-ffa` refuses, and why.
fn ours_is_laxer(function: Function) -> bool {
    matches!(
        function,
        // The upper half of w1 is ignored: no rule names it.
        Function::NotificationBitmapCreate | Function::NotificationBitmapDestroy
        // Below 1.3 w2 is ignored.
        | Function::MemPermGet
        // A tag with a start index of zero is for the core to refuse (D10).
        | Function::PartitionInfoGetRegs
    )
}

/// The calls that both have a codec for.
const COMPARED: [Function; 22] = [
    Function::PartitionInfoGet,
    Function::MsgWait,
    Function::Run,
    Function::MsgSendDirectReq,
    Function::MsgSendDirectResp,
    Function::MemDonate,
    Function::MemLend,
    Function::MemShare,
    Function::MemRetrieveReq,
    Function::MemReclaim,
    Function::MemFragRx,
    Function::MemFragTx,
    Function::NotificationBitmapCreate,
    Function::NotificationBitmapDestroy,
    Function::NotificationBind,
    Function::NotificationUnbind,
    Function::NotificationSet,
    Function::NotificationGet,
    Function::MemPermGet,
    Function::MemPermSet,
    Function::PartitionInfoGetRegs,
    Function::MsgSendDirectReq2,
];

/// A register value: often small or an id pair, sometimes anything.
fn register() -> impl Strategy<Value = u64> {
    prop_oneof![
        3 => Just(0),
        3 => 0_u64..8,
        2 => any::<u32>().prop_map(u64::from),
        1 => (0_u64..64).prop_map(|page| page << 12),
        1 => any::<u64>(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn a1_calls_are_read_alike(
        values in prop::array::uniform17(register()),
        function in 0..COMPARED.len(),
        wide in any::<bool>(),
        version in 0_usize..4,
    ) {
        let (function, version) = (COMPARED[function], VERSIONS[version]);
        let row = function.row();
        let width = if (wide && row.w64) || !row.w32 { Width::W64 } else { Width::W32 };
        prop_assume!(version >= row.since);
        let direct = matches!(function, Function::MsgSendDirectReq | Function::MsgSendDirectResp);
        prop_assume!(!(direct && width == Width::W64 && version < Version::V1_2));
        let mut call = Registers::ZERO;
        call.x[1..18].copy_from_slice(&values);
        call.x[0] = function.id(width);
        if width == Width::W32 {
            // arm-ffa looks at upper halves of 32-bit calls in a few places.
            call.x.iter_mut().for_each(|x| *x &= 0xffff_ffff);
        }
        prop_assert_eq!(function::decode(call.x[0]), Call::Ffa(function, width));
        match (ours(function, width, version, &call), theirs(version, &call)) {
            (Some(ours), Some(theirs)) => prop_assert_eq!(ours, theirs),
            (None, Some(_)) => prop_assert!(ours_is_stricter(function), "{} {:x?}", function, call),
            (Some(_), None) => prop_assert!(ours_is_laxer(function), "{} {:x?}", function, call),
            (None, None) => {}
        }
    }

    #[test]
    fn a34_notification_lists_are_packed_alike(
        lists in prop::collection::vec(
            (any::<u16>(), prop::collection::vec(any::<u16>(), 0..5)),
            0..25,
        ),
        more in any::<bool>(),
    ) {
        let mut theirs32 = SuccessArgsNotificationInfoGet32::default();
        let mut theirs64 = SuccessArgsNotificationInfoGet64::default();
        let mut ours32 = InfoLists::new(Width::W32);
        let mut ours64 = InfoLists::new(Width::W64);
        for (partition, vcpus) in &lists {
            let ids: Vec<_> = vcpus.iter().copied().map(VcpuIndex).collect();
            let found = ours32.push(EndpointId(*partition), &ids).is_ok();
            prop_assert_eq!(found, theirs32.add_list(*partition, vcpus).is_ok());
            let found = ours64.push(EndpointId(*partition), &ids).is_ok();
            prop_assert_eq!(found, theirs64.add_list(*partition, vcpus).is_ok());
        }
        theirs32.more_pending_notifications = more;
        theirs64.more_pending_notifications = more;
        if more {
            ours32.more_pending();
            ours64.more_pending();
        }
        let SuccessArgs::Args32(expected) = theirs32.into() else { unreachable!() };
        prop_assert_eq!(ours32.results(), expected.map(u64::from));
        let SuccessArgs::Args64(expected) = theirs64.into() else { unreachable!() };
        prop_assert_eq!(&ours64.results()[..], &expected[..6]);
    }

    #[test]
    fn a09_partition_information_is_packed_alike(
        id in any::<u16>(),
        contexts in any::<u16>(),
        properties in any::<u32>(),
        uuid in any::<[u8; 16]>(),
        newer in any::<bool>(),
    ) {
        let version = if newer { Version::V1_2 } else { Version::V1_1 };
        // Ids of endpoints; arm-ffa drops the messaging bits of the others, and so do we.
        let info = PartitionInfo {
            id: EndpointId(id),
            contexts,
            properties: Properties(properties & !Properties::ID_TYPE.0),
            uuid: Uuid(uuid),
            image_uuid: Uuid::NIL,
            version,
        };
        for world in [World::Normal, World::Secure] {
            let mut bytes = [0; partition_info::MAXIMUM_SIZE];
            let size = partition_info::encode(version, world, &info, &mut bytes).unwrap();
            prop_assert_eq!(size, 24);
            let found: Vec<_> = PartitionInfoIterator::new(version_for(version), &bytes[..size], 1)
                .unwrap()
                .collect::<Result<_, _>>()
                .unwrap();
            let mut again = [0xee; 24];
            arm_ffa::partition_info::PartitionInfo::pack(
                version_for(version),
                &found,
                &mut again,
                true,
            );
            prop_assert_eq!(&again[..], &bytes[..size]);
            prop_assert_eq!(found[0].partition_id, id);
            prop_assert_eq!(found[0].uuid.as_bytes(), &uuid);
        }
    }

    #[test]
    fn b53_boot_information_is_read_alike(
        value in any::<u64>(),
        length in 1_u32..=8,
        name in "[a-z]{0,15}",
        uuid in any::<[u8; 16]>(),
        size in 0_u32..64,
        newer in any::<bool>(),
    ) {
        let version = if newer { Version::V1_2 } else { Version::V1_1 };
        let mut blob = vec![0; 4096];
        let contents = blob.as_ptr() as u64 + 512;
        let entries = [
            boot_info::Entry {
                name: boot_info::Name::Text(&name),
                kind: boot_info::Kind::DeviceTree,
                contents: boot_info::Contents::Address { address: contents, size },
            },
            boot_info::Entry {
                name: boot_info::Name::Uuid(Uuid(uuid)),
                kind: boot_info::Kind::Other(0x85),
                contents: boot_info::Contents::Value { value, size: length },
            },
        ];
        prop_assert_eq!(boot_info::write(&mut blob, version, &entries), Some(96));
        // arm-ffa wants a blob size of no more than the slice; ours counts contents behind it.
        blob[8..12].copy_from_slice(&4096_u32.to_le_bytes());
        let found: Vec<_> = theirs_boot::BootInfoIterator::new(version_for(version), &blob)
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        let text = [name.as_bytes(), &[0]].concat();
        let expected = [
            theirs_boot::BootInfo {
                name: theirs_boot::BootInfoName::NullTermString(
                    CStr::from_bytes_with_nul(&text).unwrap(),
                ),
                typ: theirs_boot::BootInfoType::Std(theirs_boot::BootInfoStdId::Fdt),
                contents: theirs_boot::BootInfoContents::Address {
                    content_buf: &blob[512..512 + size as usize],
                },
            },
            theirs_boot::BootInfo {
                name: theirs_boot::BootInfoName::Uuid(arm_ffa::Uuid::from_bytes(uuid)),
                typ: theirs_boot::BootInfoType::Impdef(theirs_boot::BootInfoImpdefId(5)),
                contents: theirs_boot::BootInfoContents::Value {
                    val: value,
                    len: length as usize,
                },
            },
        ];
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn l2_error_codes_are_those_of_arm_ffa() {
    // It does not have NOT_READY.
    for code in -9..=0 {
        let ours = FfaError::from_code(code).is_some();
        assert_eq!(ours, arm_ffa::FfaError::try_from(code).is_ok(), "{code}");
    }
}
