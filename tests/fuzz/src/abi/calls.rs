// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a call says: function ids, endpoints, UUIDs, flags, payloads.

use arm_ffa::interface_args::{
    ConsoleLogChars, DirectMsgArgs, Feature, RxTxAddr, SecondaryEpRegisterAddr,
};
use arm_ffa::{FuncId, Interface, UuidHelper};
use bulkhead_abi::features::Query;
use bulkhead_abi::framework::{self, Flags, Message, PsciRequest};
use bulkhead_abi::function::{self, Call, Kind, TABLE};
use bulkhead_abi::partition_info::{RegsRequest, Wanted};
use bulkhead_abi::version::Negotiation;
use bulkhead_abi::{EndpointId, FfaError, Function, Registers, Version, Width, console};

use super::later;
use crate::input::Input;

/// The version at which arm-ffa decodes: below it, it panics on 64-bit direct messages.
const THEIR_VERSION: arm_ffa::Version = arm_ffa::Version(1, 2);

/// 64-bit forms that arm-ffa takes over from the 1.3 drafts, and a 32-bit one that FF-A never had:
/// Bulkhead answers NOT_SUPPORTED.
const ONLY_THEIRS: [u32; 7] = [
    0xc400_0060,
    0xc400_0062,
    0xc400_006b,
    0xc400_006c,
    0xc400_006d,
    0xc400_007c,
    0x8400_0087,
];

/// Registers of a call: mostly a known function with arguments that are often special.
pub fn registers(input: &mut Input<'_>) {
    let mut registers = Registers::ZERO;
    let choice = usize::from(input.byte());
    let row = &TABLE[choice % TABLE.len()];
    registers.x[0] = match input.byte() {
        byte @ 0..=0xdf => {
            let width = if byte & 1 == 0 {
                Width::W32
            } else {
                Width::W64
            };
            row.function.id(width)
        }
        0xe0..=0xef => 0x8400_0000 | u64::from(input.byte()),
        _ => input.long(),
    };
    for x in &mut registers.x[1..18] {
        *x = input.number();
    }
    ids(&registers);
    let call = Call::Ffa(row.function, Width::W32);
    let decoded = function::decode(registers.x[0]);
    if let (Call::Ffa(function, width), Ok(_)) = (decoded, FuncId::try_from(registers.w::<0>())) {
        compare(function, width, &registers);
    }
    if let Call::Ffa(function, width) = decoded {
        later::reserved_bits(function, width, &registers);
        if let Ok(theirs) = Interface::from_regs(THEIR_VERSION, &registers.x[..18]) {
            later::compare(width, &registers, &theirs);
        }
    }
    let _ = (call.to_string(), decoded.to_string());
}

/// The function id alone.
fn ids(registers: &Registers) {
    let x0 = registers.x[0];
    // arm-ffa does not know SMCCC's SVE hint, bit 16.
    let id = registers.w::<0>() & !(1 << 16);
    match (function::decode(x0), FuncId::try_from(id)) {
        (Call::Ffa(function, width), Ok(theirs)) => {
            assert_eq!(function.id(width), u64::from(u32::from(theirs)));
            assert_eq!(width == Width::W32, theirs.is_32bit());
            let since: u32 = theirs.minimum_ffa_version().into();
            assert_eq!(since, function.row().since.to_word());
        }
        // Legacy ids, and what came with 1.3.
        (Call::Ffa(function, _), Err(_)) => {
            let row = function.row();
            assert!(
                row.kind == Kind::Legacy || row.since == Version::V1_3,
                "{function}"
            );
        }
        (Call::UnknownFfa(_), Ok(_)) => assert!(ONLY_THEIRS.contains(&id), "{id:#x}"),
        (Call::Other(_), Ok(_)) => panic!("{id:#x} is FF-A to arm-ffa alone"),
        (_, Err(_)) => {}
    }
}

fn compare(function: Function, width: Width, registers: &Registers) {
    let theirs = Interface::from_regs(THEIR_VERSION, &registers.x[..18]);
    let pair = (registers.sender().0, registers.receiver().0);
    match (function, theirs) {
        (Function::Version, Ok(Interface::Version { input_version, .. })) => {
            let ours = Version::from_word(registers.w::<1>()).expect("bit 31 is clear");
            assert_eq!(ours.to_word(), u32::from(input_version));
            let negotiated = Negotiation::of(registers.w::<1>());
            let compatible = input_version.is_compatible_to(arm_ffa::Version(1, 3));
            assert_eq!(negotiated == Negotiation::Adopted(ours), compatible);
        }
        // Bit 31, or flags in w2, which are of 1.3 and which Bulkhead does not look at.
        (Function::Version, Err(_)) => {
            assert!(Version::from_word(registers.w::<1>()).is_none() || registers.w::<2>() != 0);
        }
        (Function::Features, Ok(Interface::Features { feat_id, .. })) => {
            features(registers.w::<1>(), feat_id)
        }
        (Function::RxRelease, Ok(Interface::RxRelease { vm_id }))
        | (Function::RxAcquire, Ok(Interface::RxAcquire { vm_id })) => assert_eq!(vm_id, pair.1),
        (Function::RxtxUnmap, Ok(Interface::RxTxUnmap { id })) => assert_eq!(id, pair.0),
        (Function::RxtxMap, Ok(Interface::RxTxMap { addr, page_cnt })) => {
            let (tx, rx) = match addr {
                RxTxAddr::Addr32 { rx, tx } => (u64::from(tx), u64::from(rx)),
                RxTxAddr::Addr64 { rx, tx } => (tx, rx),
            };
            assert_eq!(
                [tx, rx],
                [registers.arg::<1>(width), registers.arg::<2>(width)]
            );
            assert_eq!(page_cnt, registers.w::<3>());
        }
        (Function::PartitionInfoGet, Ok(Interface::PartitionInfoGet { uuid, flags })) => {
            assert_eq!(registers.uuid_w1_w4().0, UuidHelper::to_bytes(uuid));
            let wanted = if flags.count_only {
                Wanted::Count
            } else {
                Wanted::Descriptors
            };
            assert_eq!(Wanted::decode(registers.w::<5>()), Ok(wanted));
        }
        (Function::PartitionInfoGet, Err(_)) => {
            assert!(Wanted::decode(registers.w::<5>()).is_err())
        }
        (
            Function::PartitionInfoGetRegs,
            Ok(Interface::PartitionInfoGetRegs {
                uuid,
                start_index,
                info_tag,
            }),
        ) => {
            assert_eq!(registers.uuid_x1_x2().0, UuidHelper::to_bytes(uuid));
            let ours = RegsRequest::decode(registers.x[3]);
            assert_eq!((ours.start, ours.tag), (start_index, info_tag));
        }
        // A tag at index 0: the core says whether it is the tag of now.
        (Function::PartitionInfoGetRegs, Err(_)) => {
            let ours = RegsRequest::decode(registers.x[3]);
            assert!(ours.start == 0 && ours.tag != 0);
        }
        (Function::Run, Ok(Interface::Run { target_info, .. })) => {
            assert_eq!((target_info.endpoint_id, target_info.vcpu_id), pair);
        }
        (Function::SecondaryEpRegister, Ok(Interface::SecondaryEpRegister { entrypoint })) => {
            assert_eq!(entrypoint, SecondaryEpRegisterAddr::Addr64(registers.x[1]));
        }
        (
            Function::MsgSendDirectReq,
            Ok(Interface::MsgSendDirectReq {
                src_id,
                dst_id,
                args,
            }),
        )
        | (
            Function::MsgSendDirectResp,
            Ok(Interface::MsgSendDirectResp {
                src_id,
                dst_id,
                args,
            }),
        ) => {
            assert_eq!((src_id, dst_id), pair);
            direct(function, width, registers, args);
        }
        (Function::MsgSendDirectReq | Function::MsgSendDirectResp, Err(_)) => {
            not_theirs(function, width, registers);
        }
        (
            Function::MsgSendDirectReq2,
            Ok(Interface::MsgSendDirectReq2 {
                src_id,
                dst_id,
                uuid,
                args,
            }),
        ) => {
            assert_eq!((src_id, dst_id), pair);
            assert_eq!(registers.uuid_x2_x3().0, UuidHelper::to_bytes(uuid));
            second_payload(registers, &args.0);
        }
        (
            Function::MsgSendDirectResp2,
            Ok(Interface::MsgSendDirectResp2 {
                src_id,
                dst_id,
                args,
            }),
        ) => {
            assert_eq!((src_id, dst_id), pair);
            second_payload(registers, &args.0);
        }
        (Function::Error, theirs) => {
            let ours = FfaError::from_code(registers.w::<2>().cast_signed());
            match theirs {
                Ok(Interface::Error { error_code, .. }) => {
                    assert_eq!(ours.map(FfaError::code), Some(i32::from(error_code)));
                }
                // NOT_READY, −10, is missing there.
                _ => assert!(matches!(ours, None | Some(FfaError::NotReady))),
            }
        }
        (Function::ConsoleLog, theirs) => console_log(width, registers, theirs),
        _ => {}
    }
}

fn features(w1: u32, theirs: Feature) {
    match (Query::decode(w1), theirs) {
        (Query::Function(function, width), Feature::FuncId(id)) => {
            assert_eq!(function.id(width), u64::from(u32::from(id)));
        }
        (Query::Feature(feature), Feature::FeatureId(id)) => {
            assert_eq!(feature.id(), u32::from(u8::from(id)));
        }
        // Feature 4 came with 1.3.
        (Query::Feature(feature), Feature::Unknown(_)) => assert_eq!(feature.id(), 4),
        (Query::Unknown, Feature::FuncId(id)) => assert!(ONLY_THEIRS.contains(&u32::from(id))),
        // arm-ffa looks at the low byte only.
        (Query::Unknown, Feature::FeatureId(_)) => assert!(w1 > 0xff),
        (Query::Unknown, Feature::Unknown(_)) => {}
        // Legacy and 1.3 functions, the SVE hint, or a low byte that looks like a feature.
        (Query::Function(function, _), _) => {
            let row = function.row();
            let newer = row.kind == Kind::Legacy || row.since == Version::V1_3;
            assert!(newer || w1 & 1 << 16 != 0, "{function}");
        }
        (ours, theirs) => panic!("{w1:#x}: {ours:?} and {theirs:?}"),
    }
}

/// A direct message that both take.
fn direct(function: Function, width: Width, registers: &Registers, theirs: DirectMsgArgs) {
    let flags = Flags::decode(registers.w::<2>());
    let mut payload = Registers::ZERO;
    payload.copy_direct_payload(registers, width);
    let message = match theirs {
        DirectMsgArgs::Args32(args) => {
            // w2 must be zero (G8); arm-ffa looks at bit 31 only.
            assert!(flags == Ok(Flags::Partition) || registers.w::<2>() & !FRAMEWORK != 0);
            assert_eq!(payload.x[3..8], args.map(u64::from));
            return;
        }
        DirectMsgArgs::Args64(args) => {
            assert!(flags == Ok(Flags::Partition) || registers.w::<2>() & !FRAMEWORK != 0);
            // The message is x3 to x7; the rest of what arm-ffa reads is no part of it.
            assert_eq!(payload.x[3..8], args[..5]);
            return;
        }
        DirectMsgArgs::VersionReq { version, .. } => {
            assert_eq!(framework::requested_version(registers), u32::from(version));
            Message::VersionRequest
        }
        DirectMsgArgs::VersionResp { version } => {
            let ours = framework::answered_version(registers);
            assert_eq!(ours.map(Version::to_word), version.map(u32::from));
            Message::VersionResponse
        }
        DirectMsgArgs::PowerPsciReq32 { params } => {
            let ours = PsciRequest::decode(registers, Width::W32);
            assert_eq!(ours.function, params[0]);
            assert_eq!(
                ours.arguments[..],
                [1, 2, 3].map(|index| u64::from(params[index]))
            );
            Message::PsciRequest
        }
        DirectMsgArgs::PowerPsciReq64 { params } => {
            let ours = PsciRequest::decode(registers, Width::W64);
            // A function id has 32 bits.
            assert_eq!(u64::from(ours.function), params[0] & 0xffff_ffff);
            assert_eq!(ours.arguments[..], params[1..]);
            Message::PsciRequest
        }
        DirectMsgArgs::PowerWarmBootReq { .. } => Message::WarmBoot,
        DirectMsgArgs::PowerPsciResp { psci_status } => {
            assert_eq!(framework::answered_status(registers), psci_status);
            Message::PowerResponse
        }
        DirectMsgArgs::VmCreated { .. } => Message::VmCreatedRequest,
        DirectMsgArgs::VmCreatedAck { .. } => Message::VmCreatedResponse,
        DirectMsgArgs::VmDestructed { .. } => Message::VmDestroyedRequest,
        DirectMsgArgs::VmDestructedAck { .. } => Message::VmDestroyedResponse,
    };
    assert_eq!(flags, Ok(Flags::Framework(message)));
    assert_eq!(message.function(), function);
}

const FRAMEWORK: u32 = framework::FRAMEWORK;

/// A direct message that arm-ffa does not take: no framework message, one of 1.3, one of the other
/// direction, a 64-bit one other than PSCI's, or one with an argument that it checks and Bulkhead
/// leaves to the handler.
fn not_theirs(function: Function, width: Width, registers: &Registers) {
    let Ok(Flags::Framework(message)) = Flags::decode(registers.w::<2>()) else {
        assert_ne!(registers.w::<2>() & FRAMEWORK, 0);
        return;
    };
    let other_form = message.function() != function || width == Width::W64;
    let argument = matches!(
        message,
        Message::VersionRequest
            | Message::VersionResponse
            | Message::WarmBoot
            | Message::VmCreatedResponse
            | Message::VmDestroyedResponse
    );
    assert!(
        other_form || argument || message.number() >= 10,
        "{message:?}"
    );
}

fn second_payload(registers: &Registers, theirs: &[u64; 14]) {
    let mut payload = Registers::ZERO;
    payload.copy_direct2_payload(registers);
    assert_eq!(payload.x[4..18], theirs[..]);
}

fn console_log(width: Width, registers: &Registers, theirs: Result<Interface, arm_ffa::Error>) {
    let ours = console::characters(registers, width, Version::V1_2);
    let theirs = match &theirs {
        Ok(Interface::ConsoleLog {
            chars: ConsoleLogChars::Chars32(chars),
        }) => Some(chars.bytes()),
        Ok(Interface::ConsoleLog {
            chars: ConsoleLogChars::Chars64(chars),
        }) => Some(chars.bytes()),
        _ => None,
    };
    match (&ours, theirs) {
        (Ok(ours), Some(theirs)) => assert_eq!(ours.as_bytes(), theirs),
        (Ok(_), None) => panic!("arm-ffa refuses"),
        // No characters, or a count whose low byte alone is right: arm-ffa takes both.
        (Err(_), Some(_)) => {
            let count = registers.arg::<1>(width);
            assert!(count == 0 || count > 0xff, "{count}");
        }
        (Err(_), None) => {}
    }
}

/// The answers that Bulkhead writes, read by arm-ffa.
pub fn framework_response(input: &mut Input<'_>) {
    let (from, to) = (EndpointId(input.half()), EndpointId(input.half()));
    let word = input.word();
    let result = match Negotiation::of(word) {
        Negotiation::Adopted(version) => Ok(version),
        Negotiation::Answered => Ok(Version::OURS),
        Negotiation::Refused => Err(FfaError::NotSupported),
    };
    let words = framework::version_response(from, to, result);
    let theirs = Interface::from_regs(THEIR_VERSION, &words).expect("a version response");
    let Interface::MsgSendDirectResp {
        src_id,
        dst_id,
        args,
    } = theirs
    else {
        panic!("{theirs:?}");
    };
    assert_eq!((src_id, dst_id), (from.0, to.0));
    let DirectMsgArgs::VersionResp { version } = args else {
        panic!("{args:?}");
    };
    assert_eq!(version.map(u32::from), result.ok().map(Version::to_word));

    let request =
        framework::psci_request(from, to, word, [input.word(), input.word(), input.word()]);
    let theirs = Interface::from_regs(THEIR_VERSION, &request).expect("a PSCI request");
    let Interface::MsgSendDirectReq {
        args: DirectMsgArgs::PowerPsciReq32 { params },
        ..
    } = theirs
    else {
        panic!("{theirs:?}");
    };
    assert_eq!(request[3..7], params.map(u64::from));
}
