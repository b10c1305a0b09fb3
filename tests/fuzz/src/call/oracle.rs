// SPDX-License-Identifier: MIT OR Apache-2.0
//! What must hold of the registers of a caller when it goes on.

use bulkhead_abi::function::{self, Call};
use bulkhead_abi::registers::Extended;
use bulkhead_abi::{FfaError, Function, Registers, Version, Width};

/// What the registers of a caller that runs again must be.
#[derive(Clone)]
pub enum Expect {
    /// Those that it left with: it was interrupted.
    Same(Registers),
    /// Those that it left with but for one: an ID register was read.
    But(u8, Registers),
    /// An answer to this call, or the next request.
    Reply(Registers),
}

/// The number of result registers from x2 on that an FFA_SUCCESS may use; `None` where this file
/// does not say.
fn results(call: Function) -> Option<usize> {
    Some(match call {
        Function::Features | Function::PartitionInfoGet => 2,
        Function::IdGet | Function::SpmIdGet | Function::NsResInfoGet => 1,
        Function::RxRelease
        | Function::RxAcquire
        | Function::RxtxMap
        | Function::RxtxUnmap
        | Function::SecondaryEpRegister
        | Function::NotificationBind2
        | Function::NotificationUnbind2
        | Function::NotificationSet2
        | Function::Yield
        | Function::ConsoleLog => 0,
        _ => return None,
    })
}

/// Whether each register of `now` is zero or what `before` has.
fn kept_or_zero(before: &[u64], now: &[u64]) -> bool {
    let zero = now.iter().all(|x| *x == 0);
    zero || now == before
}

impl Expect {
    /// Fails unless `now` is what a caller of `version` may find.
    pub fn check(&self, now: &Registers, version: Version) {
        match self {
            Self::Same(before) => assert_eq!(before, now, "an interrupt changed registers"),
            Self::But(register, before) => {
                for (index, (before, now)) in before.x.iter().zip(&now.x).enumerate() {
                    assert!(
                        index == usize::from(*register) || before == now,
                        "x{index} changed"
                    );
                }
            }
            Self::Reply(call) => check_reply(call, now, version),
        }
    }
}

fn check_reply(call: &Registers, now: &Registers, version: Version) {
    assert_eq!(call.x[18..], now.x[18..], "x18 to x30 are the caller's");
    let (called, width) = match function::decode(call.x[0]) {
        Call::Ffa(function, width) => (Some(function), width),
        Call::UnknownFfa(id) if id & 1 << 30 == 0 => (None, Width::W32),
        Call::UnknownFfa(_) => (None, Width::W64),
        Call::Other(_) => {
            // One result, unless the next request or an error of an ended chain is behind it.
            assert_eq!(call.x[1..18], now.x[1..18], "x1 to x17 are the caller's");
            return;
        }
    };
    let x = &now.x;
    let Call::Ffa(answer, answer_width) = function::decode(x[0]) else {
        assert_eq!(called, Some(Function::Version), "x0 = {:#x}", x[0]);
        assert!(
            x[0] == u64::from(Version::OURS.to_word())
                || x[0] == FfaError::NotSupported.to_register()
        );
        assert_eq!(x[1..8], [0; 7]);
        assert_eq!(call.x[8..18], x[8..18]);
        return;
    };
    if answer_width == Width::W32 {
        assert!(
            x[..8].iter().all(|x| *x <= 0xffff_ffff),
            "a 32-bit answer: {:#x?}",
            &x[..8]
        );
    }
    let mut by_call = Some(Extended::for_call(version, width));
    match answer {
        Function::Error => {
            assert_eq!((x[1], &x[3..8]), (0, &[0; 5][..]));
            let code = u32::try_from(x[2]).expect("32 bits").cast_signed();
            assert!(FfaError::from_code(code).is_some(), "the error code {code}");
        }
        Function::Success => {
            let called = called.expect("success of an unknown call");
            assert_eq!(x[1], 0);
            if called == Function::PartitionInfoGetRegs {
                // Its results use all registers; the world looks at them.
                return;
            }
            if called == Function::NotificationGet2 {
                check_pending(call, x);
                return;
            }
            if let Some(used) = results(called) {
                assert!(
                    x[2 + used..8].iter().all(|x| *x == 0),
                    "{called}: {:#x?}",
                    &x[..8]
                );
            }
        }
        Function::MsgSendDirectReq => {
            assert_eq!(x[2] & 0x7fff_ff00, 0);
            // The rule of the request's width.
            by_call = None;
        }
        Function::MsgSendDirectResp => {
            assert_eq!(x[2] & 0x7fff_ff00, 0);
            check_answer(called, call, now);
        }
        Function::MsgSendDirectReq2 => return,
        Function::MsgSendDirectResp2 => {
            assert_eq!(x[2..4], [0; 2]);
            check_answer(called, call, now);
            return;
        }
        Function::Run => {
            assert_eq!(x[2..8], [0; 6]);
            by_call = None;
        }
        Function::Interrupt | Function::MsgWait | Function::NormalWorldResume => {
            assert_eq!(x[2..8], [0; 6]);
        }
        Function::Yield => assert_eq!(x[4..8], [0; 4]),
        other => panic!("{other} is no answer"),
    }
    match by_call {
        Some(Extended::Preserve) => {
            assert_eq!(call.x[8..18], x[8..18], "x8 to x17 are the caller's")
        }
        Some(Extended::Clear) => assert_eq!(x[8..18], [0; 10], "x8 to x17 read zero"),
        None => assert!(kept_or_zero(&call.x[8..18], &x[8..18])),
    }
}

/// What FFA_NOTIFICATION_GET2 tells of is wanted: named by the flags and by no mask. Of the hypervisor
/// nothing is known here.
fn check_pending(call: &Registers, x: &[u64; 31]) {
    let named = |bit: u32| call.x[2] >> bit & 1 != 0;
    let flags = [0; 6].into_iter().chain([1; 6]).chain([2, 3]);
    for (flag, (mask, told)) in flags.zip(call.x[3..].iter().zip(&x[3..17])) {
        let wanted = if named(flag) { !mask } else { 0 };
        assert_eq!(told & !wanted, 0, "{told:#x} was not asked for");
    }
    assert_eq!((x[2], x[16], x[17]), (0, 0, 0));
}

/// A response comes from whom the request went to, and goes to who sent it. (FFA_RUN may end in the
/// response to an earlier request.)
fn check_answer(called: Option<Function>, call: &Registers, now: &Registers) {
    if matches!(
        called,
        Some(Function::MsgSendDirectReq | Function::MsgSendDirectReq2)
    ) {
        assert_eq!(
            (now.sender(), now.receiver()),
            (call.receiver(), call.sender())
        );
    }
}

/// Fails unless `to`, which goes on after `from`'s direct message, has this message and nothing else.
pub fn check_message(from: &Registers, to: &Registers) {
    let (sent, width) = match function::decode(from.x[0]) {
        Call::Ffa(function, width) => (function, width),
        _ => return,
    };
    let Call::Ffa(got, _) = function::decode(to.x[0]) else {
        return;
    };
    if got != sent {
        return;
    }
    match sent {
        Function::MsgSendDirectReq | Function::MsgSendDirectResp => {
            assert_eq!(to.x[0], sent.id(width));
            assert_eq!(to.x[1], from.x[1] & 0xffff_ffff);
            let w2 = from.x[2] & 0xffff_ffff;
            assert_eq!(to.x[2], w2);
            let payload: [u64; 5] = std::array::from_fn(|index| match (w2, sent, index) {
                (0, _, _) => from.x[index + 3] & width.mask(),
                // A framework message has a handle and a VM, its answer a status.
                (_, Function::MsgSendDirectReq, 0 | 1) | (_, _, 0) => {
                    from.x[index + 3] & 0xffff_ffff
                }
                (_, Function::MsgSendDirectReq, 2) => from.x[5] & 0xffff,
                _ => 0,
            });
            assert_eq!(to.x[3..8], payload);
        }
        Function::MsgSendDirectReq2 | Function::MsgSendDirectResp2 => {
            assert_eq!(to.x[1], from.x[1] & 0xffff_ffff);
            assert_eq!(to.x[2..18], from.x[2..18]);
        }
        _ => {}
    }
}
