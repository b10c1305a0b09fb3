// SPDX-License-Identifier: MIT OR Apache-2.0
//! What holds for the registers after every call, whoever makes it: L1, L2 and the third implicit
//! post-condition of the abuse cases.

use bulkhead_abi::registers::Extended;
use bulkhead_abi::{Function, Version, Width, function};
use bulkhead_payload::{Canary, Reply, Text};

/// The first register that is not as it may be after any call, in words.
///
/// x8–x17 may read zero or what went in, as `L1` has it; [`strict`] knows better for each call.
pub fn broken(reply: &Reply) -> Option<Text> {
    if !reply.masks_kept {
        return Some(Text::new(format_args!("PSTATE.DAIF changed in the call")));
    }
    if let Some(index) = (18..31).find(|&index| reply.x(index) != reply.sent.x[index]) {
        return Some(changed(reply, index));
    }
    let carries_results_in_extended = matches!(
        reply.function(),
        Some((
            Function::MsgSendDirectReq2
                | Function::MsgSendDirectResp2
                | Function::PartitionInfoGetRegs,
            _
        ))
    ) || called(reply).is_some_and(|(called, _)| {
        matches!(
            called,
            Function::PartitionInfoGetRegs | Function::NotificationGet2
        )
    }) && reply.is(Function::Success);
    if !carries_results_in_extended
        && let Some(index) =
            (8..18).find(|&index| reply.x(index) != reply.sent.x[index] && reply.x(index) != 0)
    {
        return Some(changed(reply, index));
    }
    let is_32_bit = matches!(reply.function(), Some((_, Width::W32)))
        || called(reply) == Some((Function::Version, Width::W32));
    if is_32_bit && let Some(index) = (0..8).find(|&index| reply.x(index) >> 32 != 0) {
        return Some(Text::new(format_args!(
            "x{index} of a 32-bit result is {:#x}",
            reply.x(index)
        )));
    }
    if reply.is(Function::Error)
        && let Some(index) = [1, 3, 4, 5, 6, 7]
            .into_iter()
            .find(|&index| reply.x(index) != 0)
    {
        return Some(Text::new(format_args!(
            "x{index} of FFA_ERROR is {:#x}",
            reply.x(index)
        )));
    }
    None
}

/// What was called, if it was FF-A.
fn called(reply: &Reply) -> Option<(Function, Width)> {
    match function::decode(reply.sent.x[0]) {
        function::Call::Ffa(function, width) => Some((function, width)),
        _ => None,
    }
}

fn changed(reply: &Reply, index: usize) -> Text {
    let (found, sent) = (reply.x(index), reply.sent.x[index]);
    let whose = match (found >> 48) as u16 {
        Canary::NORMAL_WORLD => ", a value of the normal world",
        Canary::PARTITION => ", a value of a partition",
        _ => "",
    };
    Text::new(format_args!(
        "x{index} became {found:#x}{whose}; it was {sent:#x}"
    ))
}

/// The result registers of FFA_ERROR: the id and the status in w2.
pub const ERROR: u32 = 1 << 2 | 1;

/// The first register that differs from DECISIONS 4 after a call whose results are the registers in
/// `results` (bit N for xN), in words.
pub fn strict(reply: &Reply, version: Version, results: u32) -> Option<Text> {
    let (extended, unused) = match function::decode(reply.sent.x[0]) {
        function::Call::Ffa(_, width) => (Extended::for_call(version, width), Some(0)),
        function::Call::UnknownFfa(id) => {
            let width = if id >> 30 & 1 == 0 {
                Width::W32
            } else {
                Width::W64
            };
            (Extended::for_call(version, width), Some(0))
        }
        // Any other SMCCC call that is answered with an error changes x0 only.
        function::Call::Other(_) => (Extended::Preserve, None),
    };
    (0..18)
        .filter(|index| results >> index & 1 == 0)
        .find_map(|index| {
            let expected = match (index, extended, unused) {
                (0..8, _, Some(value)) => value,
                (8.., Extended::Clear, _) => 0,
                _ => reply.sent.x[index],
            };
            (reply.x(index) != expected).then(|| {
                Text::new(format_args!(
                    "unused x{index} is {:#x}, not {expected:#x}",
                    reply.x(index)
                ))
            })
        })
}
