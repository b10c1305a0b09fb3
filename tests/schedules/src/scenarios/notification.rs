// SPDX-License-Identifier: MIT OR Apache-2.0
//! Notifications that one core sets, another gets and a third asks about (N8 to N11), and an RX buffer that
//! cores fill and give back (G26, N13).

use bulkhead_abi::indirect::{Header, header_size};
use bulkhead_abi::{FfaError, Function, Registers, Uuid, Version, Width};
use bulkhead_sim::{assert_function, call, error, ffa};

use super::all_on;
use crate::machine::{NORMAL_MEMORY, PAGE, Told};
use crate::program::{Deed, status};
use crate::rest::settle;
use crate::world::{Core, NWD, Outcome, Spec, at_once, choose, id, refusal};

/// The partition that receives.
const RECEIVER: usize = 0;
/// How many notifications are set.
const SET: u32 = 8;
const DONE: Outcome = Outcome::Answer(0);

fn make(core: &mut Core, message: &Registers) -> Result<(), FfaError> {
    let reply = core.call(message);
    match error(&reply) {
        Some(code) => Err(refusal(code)),
        None => {
            assert_function(&reply, Function::Success);
            Ok(())
        }
    }
}

/// The normal world speaks 1.2.
pub(super) fn negotiate(core: &mut Core) {
    let version = u64::from(Version::V1_2.to_word());
    core.call(&ffa(Function::Version, [version, 0, 0, 0]));
}

/// A system with a partition that receives from the normal world, which speaks 1.2.
fn receiving(cores: usize) -> Vec<Core> {
    let mut cores = all_on(&[Spec::Notified], cores);
    negotiate(&mut cores[0]);
    assert_eq!(cores[0].ask(RECEIVER, &[Deed::Bind]), DONE);
    cores
}

fn set(core: &mut Core, bit: u32) {
    let to = u64::from(NWD.0) << 16 | u64::from(id(RECEIVER).0);
    let message = ffa(Function::NotificationSet, [to, 0, 1 << bit, 0]);
    assert_eq!(make(core, &message), Ok(()));
}

/// Whether the scheduler was told that something is pending which it had not been told.
pub(super) fn ask(core: &mut Core) -> bool {
    let told = core.machine.told.clone();
    told.lock().expect("a core failed").push(Told::Asked);
    let outcome = make(core, &ffa(Function::NotificationInfoGet, [0; 4]));
    assert!(
        matches!(outcome, Ok(()) | Err(FfaError::NoData)),
        "N10: {outcome:?}"
    );
    outcome.is_ok()
}

/// Each notification is got once; none is pending of which the scheduler neither was told nor will be.
pub fn n8_n9_n10_n11_two_cores_set_get_and_ask() {
    const GETS: [&[Deed]; 3] = [
        &[Deed::Get],
        &[Deed::Get, Deed::Get],
        &[Deed::Get, Deed::Interrupt, Deed::Get],
    ];
    let (mut cores, reports) = at_once(receiving(3), |core| match core.index() {
        0 => {
            (0..SET).for_each(|bit| set(core, bit));
            0
        }
        1 => {
            (0..4).for_each(|_| assert_eq!(core.ask(RECEIVER, choose(&GETS)), DONE));
            0
        }
        _ => (0..8).filter(|_| ask(core)).count(),
    });
    let told = cores[0].machine.told.lock().expect("a core failed").clone();
    let left = ask(&mut cores[0]);
    let after = told.iter().rposition(|told| *told == Told::Asked);
    let since = &told[after.map_or(0, |asked| asked + 1)..];
    assert!(
        !left || since.contains(&Told::Raised),
        "N11: nobody is told: {told:?}"
    );
    let raised = told.iter().filter(|told| **told == Told::Raised).count();
    assert!(
        raised <= SET as usize,
        "N11: {raised} interrupts for {SET} notifications"
    );
    let reports = reports.iter().sum::<usize>() + usize::from(left);
    assert!(
        reports <= SET as usize,
        "N10: {reports} reports of {SET} notifications"
    );
    assert_eq!(cores[0].ask(RECEIVER, &[Deed::Get]), DONE);
    let got = cores.iter().flat_map(|core| &core.got);
    let sum: u64 = got.sum();
    assert_eq!(sum, (1 << SET) - 1, "N9: each is got once");
    assert!(!ask(&mut cores[0]), "N10: something is left");
    settle(cores);
}

/// What a core does with the receiver's RX buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Op {
    Send,
    Release,
}

type Seen = (Op, Result<(), FfaError>);

/// Whether some order of `left` and `right`, each of which keeps its own, has these results, and whether the
/// buffer may be full at its end.
fn explains(full: bool, left: &[Seen], right: &[Seen], full_at_end: bool) -> bool {
    let goes_on = |seen: &[Seen], then: &dyn Fn(bool, &[Seen]) -> bool| {
        seen.split_first().is_some_and(|((op, result), rest)| {
            let expected = match (op, full) {
                (Op::Send, false) | (Op::Release, true) => Ok(()),
                (Op::Send, true) => Err(FfaError::Busy),
                (Op::Release, false) => Err(FfaError::Denied),
            };
            // What was refused found it so already.
            *result == expected && then(*op == Op::Send, rest)
        })
    };
    let end = left.is_empty() && right.is_empty() && full == full_at_end;
    end || goes_on(left, &|full, left| explains(full, left, right, full_at_end))
        || goes_on(right, &|full, right| {
            explains(full, left, right, full_at_end)
        })
}

fn use_rx(core: &mut Core, op: Op) -> Seen {
    let result = match op {
        Op::Send => make(core, &ffa(Function::MsgSend2, [0; 4])),
        Op::Release => match core.ask(RECEIVER, &[Deed::Release]) {
            DONE => Ok(()),
            Outcome::Answer(result) if result == status(FfaError::Denied) => Err(FfaError::Denied),
            other => panic!("G26: a release ended with {other:?}"),
        },
    };
    (op, result)
}

/// Each message is in RX until it is released, and is told of.
pub fn g26_n13_two_cores_send_and_release() {
    let mut cores = receiving(2);
    assert_eq!(cores[0].ask(RECEIVER, &[Deed::Map]), DONE);
    let header = Header {
        sender: NWD,
        receiver: id(RECEIVER),
        uuid: Uuid::NIL,
        offset: u32::try_from(header_size(Version::V1_2)).expect("small"),
        size: 8,
    };
    let (bytes, length) = header.encode(Version::V1_2);
    let mut message = bytes[..length].to_vec();
    message.extend([0x5a; 8]);
    cores[0]
        .machine
        .with_mailboxes(|mailboxes| mailboxes.normal_world_tx = message.clone());
    let mut map = call([0; 8]);
    let words = [
        Function::RxtxMap.id(Width::W64),
        NORMAL_MEMORY,
        NORMAL_MEMORY + PAGE,
        1,
    ];
    map.x[..4].copy_from_slice(&words);
    assert_eq!(make(&mut cores[0], &map), Ok(()));
    let (mut cores, seen) = at_once(cores, |core| {
        [(); 3].map(|()| use_rx(core, choose(&[Op::Send, Op::Release])))
    });
    let sent = seen
        .iter()
        .flatten()
        .any(|seen| *seen == (Op::Send, Ok(())));
    assert_eq!(ask(&mut cores[0]), sent, "N13: the receiver is told of it");
    let (_, last) = use_rx(&mut cores[0], Op::Release);
    assert!(
        explains(false, &seen[0], &seen[1], last.is_ok()),
        "G26: no order of these calls has these results: {seen:?}, {last:?}"
    );
    settle(cores);
}
