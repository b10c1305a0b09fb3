// SPDX-License-Identifier: MIT OR Apache-2.0
//! The registers of memory management, notifications and indirect messages, and the table of bits
//! that must be zero.

use arm_ffa::Interface;
use bulkhead_abi::cycles::Target;
use bulkhead_abi::indirect::Header;
use bulkhead_abi::memory::registers::{
    Fragment, Lengths, PagePermissions, PermissionRange, Reclaim,
};
use bulkhead_abi::notification::{self, Binding, BitmapCreate, Get, ScheduleReceiver, Scope, Set};
use bulkhead_abi::reserved::{self, RULES};
use bulkhead_abi::{EndpointId, FfaError, Function, Registers, Version, Width};

use crate::input::Input;

/// Fails unless [`reserved::check`], which has short cuts, is what its table says.
pub fn reserved_bits(function: Function, width: Width, registers: &Registers) {
    for version in [Version::V1_0, Version::V1_1, Version::V1_2, Version::V1_3] {
        let set = RULES
            .iter()
            .filter(|rule| rule.function == function && rule.from <= version && version <= rule.to)
            .flat_map(|rule| (rule.first..=rule.last).map(|register| (register, rule.bits)))
            .any(|(register, bits)| registers.x[usize::from(register)] & bits & width.mask() != 0);
        let expected = if set {
            Err(FfaError::InvalidParameters)
        } else {
            Ok(())
        };
        let found = reserved::check(function, width, version, registers);
        assert_eq!(found, expected, "{function} at {version}");
    }
}

/// What both read; arm-ffa's own refusals are compared by `tests/arm_ffa.rs` of the abi crate.
pub fn compare(width: Width, registers: &Registers, theirs: &Interface) {
    let pair = (registers.sender().0, registers.receiver().0);
    match *theirs {
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
        } => match Lengths::decode(registers) {
            Ok(ours) => assert_eq!((ours.total, ours.fragment), (total_len, frag_len)),
            Err(_) => assert!(frag_len == 0 || frag_len > total_len),
        },
        Interface::MemReclaim { handle, .. } => {
            assert_eq!(Reclaim::decode(registers).handle.0, handle.0)
        }
        Interface::MemFragRx {
            handle,
            frag_offset: position,
            endpoint_id,
        }
        | Interface::MemFragTx {
            handle,
            frag_len: position,
            endpoint_id,
        } => {
            let ours = Fragment::decode(registers);
            assert_eq!(
                (ours.handle.0, ours.position, ours.endpoint.0),
                (handle.0, position, endpoint_id)
            );
        }
        Interface::MemPermGet { addr, page_cnt } => permission_range(
            PermissionRange::get(registers, width, Version::V1_2),
            addr.address(),
            page_cnt,
        ),
        Interface::MemPermSet {
            addr,
            page_cnt,
            mem_perm,
        } => {
            permission_range(
                PermissionRange::set(registers, width),
                addr.address(),
                page_cnt,
            );
            match PagePermissions::decode(registers.w::<3>()) {
                Ok(ours) => assert_eq!(ours.encode(), u32::from(mem_perm)),
                // It takes reserved bits, and writable together with executable.
                Err(_) => assert!(registers.w::<3>() & !7 != 0 || registers.w::<3>() == 1),
            }
        }
        Interface::NotificationBitmapCreate { vm_id, vcpu_cnt } => {
            let ours = BitmapCreate::decode(registers);
            assert_eq!((ours.vm.0, ours.vcpu_count), (vm_id, vcpu_cnt));
        }
        Interface::NotificationBitmapDestroy { vm_id } => {
            assert_eq!(notification::bitmap_owner(registers).0, vm_id);
        }
        Interface::NotificationBind {
            sender_id,
            receiver_id,
            flags,
            bitmap,
        } => match Binding::bind(registers) {
            Ok(ours) => {
                assert_eq!(
                    (ours.sender.0, ours.receiver.0, ours.bitmap.first_word()),
                    (sender_id, receiver_id, bitmap)
                );
                assert_eq!(ours.scope == Scope::PerVcpu, flags.per_vcpu_notification);
            }
            Err(_) => assert_eq!(bitmap, 0),
        },
        Interface::NotificationUnbind {
            sender_id,
            receiver_id,
            bitmap,
        } => match Binding::unbind(registers) {
            Ok(ours) => {
                assert_eq!(
                    (ours.sender.0, ours.receiver.0, ours.bitmap.first_word()),
                    (sender_id, receiver_id, bitmap)
                );
            }
            Err(_) => assert_eq!(bitmap, 0),
        },
        Interface::NotificationSet {
            sender_id,
            receiver_id,
            flags,
            bitmap,
        } => match Set::decode(registers) {
            Ok(ours) => {
                assert_eq!(
                    (ours.sender.0, ours.receiver.0, ours.bitmap.first_word()),
                    (sender_id, receiver_id, bitmap)
                );
                let delayed = ours.schedule_receiver == ScheduleReceiver::Delayed;
                assert_eq!(delayed, flags.delay_schedule_receiver);
                assert_eq!(ours.vcpu.map(|vcpu| vcpu.0), flags.vcpu_id);
            }
            Err(_) => {
                assert!(bitmap == 0 || flags.vcpu_id.is_none() && registers.w::<2>() >> 16 != 0)
            }
        },
        Interface::NotificationGet {
            vcpu_id,
            endpoint_id,
            ..
        } => {
            let ours = Get::decode(registers);
            assert_eq!((ours.vcpu.0, ours.receiver.0), (vcpu_id, endpoint_id));
            assert_eq!(ours.flags, registers.w::<2>());
        }
        Interface::Run { target_info, .. } => {
            let ours = Target::decode(registers);
            assert_eq!(
                (ours.endpoint.0, ours.vcpu.0),
                (target_info.endpoint_id, target_info.vcpu_id)
            );
            assert_eq!(ours.encode(), registers.x[1] & 0xffff_ffff);
        }
        Interface::MsgSend2 { sender_vm_id, .. } => assert_eq!(sender_vm_id, pair.0),
        _ => {}
    }
}

fn permission_range(ours: Result<PermissionRange, FfaError>, address: u64, pages: u32) {
    match ours {
        Ok(ours) => assert_eq!((ours.address, ours.page_count), (address, pages)),
        Err(_) => {
            let end = u128::from(address) + u128::from(pages) * 4096;
            assert!(pages == 0 || !address.is_multiple_of(4096) || end >= 1 << 64);
        }
    }
}

/// The header of an indirect message: what is accepted lies in the buffer, behind the header.
pub fn indirect(input: &mut Input<'_>) {
    let version = input.choose(&[Version::V1_0, Version::V1_1, Version::V1_2, Version::V1_3]);
    let mut buffer = Vec::new();
    for usual in [
        0,
        0,
        input.choose(&[20_u32, 40, 0, 19]),
        0,
        u32::from(input.byte()),
        0,
    ] {
        let value = if input.byte() >= 0xf0 {
            input.word()
        } else {
            usual
        };
        buffer.extend(value.to_le_bytes());
    }
    buffer.extend(input.take(100));
    let Ok(header) = Header::decode(version, &buffer, buffer.len()) else {
        return;
    };
    let word = |at: usize| u32::from_le_bytes(buffer[at..at + 4].try_into().expect("four bytes"));
    let ids = EndpointId::pair(header.sender, header.receiver);
    assert_eq!(word(0), 0);
    assert_eq!(
        (header.offset, header.size, ids),
        (word(8), word(16), u64::from(word(12)))
    );
    let message = header.message(&buffer).expect("it was decoded");
    assert_eq!(u32::try_from(message.len()), Ok(header.size));
    let first = if version >= Version::V1_2 { 40 } else { 20 };
    assert!(header.offset >= first);
    let (bytes, length) = header.encode(version);
    buffer[..length].copy_from_slice(&bytes[..length]);
    assert_eq!(Header::decode(version, &buffer, buffer.len()), Ok(header));
}
