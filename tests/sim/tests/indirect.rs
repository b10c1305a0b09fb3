// SPDX-License-Identifier: MIT OR Apache-2.0
//! Indirect messages: G21 to G30 of the abuse cases, and the framework notification "RX full" (N13).

use bulkhead_abi::indirect::{Header, header_size};
use bulkhead_abi::partition_info::Properties;
use bulkhead_abi::{EndpointId, FfaError, Function, Registers, Uuid, Version, Width};
use bulkhead_sim::*;

const OS: EndpointId = EndpointId(0);
const VM: EndpointId = EndpointId(7);
/// Speaks 1.1.
const A: EndpointId = EndpointId(0x8001);
/// Speaks 1.2, and receives notifications.
const B: EndpointId = EndpointId(0x8002);
/// Speaks 1.2, without indirect messages.
const C: EndpointId = EndpointId(0x8003);
const DRAM: u64 = 0x4000_0000;
/// Mailbox slots.
const SLOT_OS: usize = 0;
const SLOT_A: usize = 1;
const SLOT_B: usize = 2;
const SLOT_VM: usize = 4;
const ROOM: usize = PAGE as usize;

struct System {
    sim: Sim,
    a: Puppet,
    b: Puppet,
    c: Puppet,
}

fn map(tx: u64, rx: u64, pages: u64) -> Registers {
    call([Function::RxtxMap.id(Width::W64), tx, rx, pages, 0, 0, 0, 0])
}

fn memory_of(id: EndpointId) -> u64 {
    let [_, low] = id.0.to_be_bytes();
    0x1000_0000 + (u64::from(low) << 20)
}

/// Everybody has buffers of a page; A has two pages for each.
fn system() -> System {
    let indirect = Properties::INDIRECT;
    let (alpha, a) = Puppet::new("alpha", A);
    let (beta, b) = Puppet::new("beta", B);
    let (gamma, c) = Puppet::new("gamma", C);
    let mut sim = Sim::builder()
        .partition(alpha.with(|config| {
            config.version = Version::V1_1;
            config.properties = config.properties.union(indirect);
        }))
        .partition(beta.with(|config| {
            let both = indirect.union(Properties::NOTIFICATIONS);
            config.properties = config.properties.union(both);
        }))
        .partition(gamma)
        .boot();
    sim.negotiate(Version::V1_2);
    for (puppet, id, pages) in [(&a, A, 2), (&b, B, 1), (&c, C, 1)] {
        let base = memory_of(id);
        let reply = puppet.call(sim.core(0), &map(base, base + 2 * PAGE, pages));
        assert_function(&reply, Function::Success);
    }
    let reply = sim.core(0).call(&map(DRAM, DRAM + PAGE, 1));
    assert_function(&reply, Function::Success);
    let mut s = System { sim, a, b, c };
    s.map_vm();
    s
}

/// w1 and w2 of FFA_MSG_SEND2.
fn send(speaker: u16, flags: u64) -> Registers {
    ffa(Function::MsgSend2, [u64::from(speaker) << 16, flags, 0, 0])
}

fn release(of: EndpointId) -> Registers {
    ffa(Function::RxRelease, [u64::from(of.0), 0, 0, 0])
}

fn get(of: EndpointId) -> Registers {
    ffa(Function::NotificationGet, [u64::from(of.0), 4, 0, 0])
}

fn uuid() -> Uuid {
    Uuid([0x5a; 16])
}

fn header(version: Version, sender: EndpointId, receiver: EndpointId, size: u32) -> Header {
    Header {
        sender,
        receiver,
        uuid: if version >= Version::V1_2 {
            uuid()
        } else {
            Uuid::NIL
        },
        offset: header_size(version) as u32,
        size,
    }
}

/// A header as bytes, and the message where it says.
fn bytes(version: Version, header: &Header, message: &[u8]) -> Vec<u8> {
    let (start, length) = header.encode(version);
    let mut bytes = start[..length].to_vec();
    bytes.resize(header.offset as usize, 0xee);
    bytes.extend(message);
    bytes
}

fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at % 251) as u8 + 1).collect()
}

#[track_caller]
fn ok(reply: &Registers) {
    assert_eq!(
        reply.x[..8],
        [Function::Success.id(Width::W32), 0, 0, 0, 0, 0, 0, 0]
    );
}

impl System {
    fn map_vm(&mut self) {
        let mut words = vec![u32::from(VM.0), 16, 48, 0];
        for page in [0x10_u32, 0x11] {
            let address = 0x4000_0000 + (page << 12);
            words.extend([1, 1, 0, 0, address, 0, 1, 0]);
        }
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.sim.write_tx(SLOT_OS, &bytes);
        ok(&self.sim.core(0).call(&map(0, 0, 0)));
    }

    /// Whether the partition sends what `bytes` in its TX buffer say.
    fn from(&mut self, id: EndpointId, bytes: &[u8]) -> Registers {
        match id {
            A => {
                self.sim.write_tx(SLOT_A, bytes);
                self.a.call(self.sim.core(0), &send(0, 0))
            }
            B => {
                self.sim.write_tx(SLOT_B, bytes);
                self.b.call(self.sim.core(0), &send(0, 0))
            }
            VM => {
                self.sim.write_tx(SLOT_VM, bytes);
                self.sim.core(0).call(&send(VM.0, 0))
            }
            _ => {
                self.sim.write_tx(SLOT_OS, bytes);
                self.sim.core(0).call(&send(0, 0))
            }
        }
    }

    /// Fails unless the message is refused so, and B's RX is as it was and still Bulkhead's.
    #[track_caller]
    fn refused(&mut self, reply: &Registers, expected: FfaError) {
        assert_error(reply, expected);
        assert_eq!(
            self.sim.rx(SLOT_B),
            Some(vec![0xa5; ROOM]),
            "RX was written"
        );
        assert_error(
            &self.b.call(self.sim.core(0), &release(OS)),
            FfaError::Denied,
        );
        let reply = self.b.call(self.sim.core(0), &get(B));
        assert_eq!(reply.x[6], 0, "a notification is pending");
    }
}

#[test]
fn a23_messages_go_between_partitions_and_both_worlds() {
    let message = pattern(1500);
    let speaks = |id| match id {
        A => Version::V1_1,
        _ => Version::V1_2,
    };
    let slot = |id| match id {
        A => SLOT_A,
        B => SLOT_B,
        VM => SLOT_VM,
        _ => SLOT_OS,
    };
    for (from, to) in [
        (A, B),
        (B, A),
        (A, OS),
        (B, VM),
        (OS, A),
        (VM, B),
        (OS, B),
        (VM, A),
    ] {
        let mut s = system();
        for _ in 0..2 {
            let sent = header(speaks(from), from, to, 1500);
            ok(&s.from(from, &bytes(speaks(from), &sent, &message)));
            let rx = s.sim.rx(slot(to)).unwrap();
            let found = Header::decode(speaks(to), &rx, rx.len()).unwrap();
            let lost = speaks(from) == Version::V1_1 || speaks(to) == Version::V1_1;
            let expected = Header {
                offset: 40.min(sent.offset.max(header_size(speaks(to)) as u32)),
                uuid: if lost { Uuid::NIL } else { uuid() },
                ..sent
            };
            assert_eq!(found, expected, "{from} to {to}");
            assert_eq!(found.message(&rx), Some(&message[..]));
            let released = match to {
                A => s.a.call(s.sim.core(0), &release(OS)),
                B => s.b.call(s.sim.core(0), &release(OS)),
                other => s.sim.core(0).call(&release(other)),
            };
            ok(&released);
        }
    }
}

#[test]
fn g21_messages_are_of_1_1_and_later() {
    let (alpha, a) = Puppet::new("alpha", A);
    let mut sim = Sim::builder()
        .partition(alpha.with(|config| {
            config.version = Version::V1_0;
            config.properties = config.properties.union(Properties::INDIRECT);
        }))
        .boot();
    sim.negotiate(Version::V1_0);
    assert_error(&a.call(sim.core(0), &send(0, 0)), FfaError::NotSupported);
    assert_error(&sim.core(0).call(&send(0, 0)), FfaError::NotSupported);
}

#[test]
fn g22_without_a_tx_buffer_nothing_is_sent() {
    let mut s = system();
    let unmap = ffa(Function::RxtxUnmap, [0; 4]);
    ok(&s.a.call(s.sim.core(0), &unmap));
    ok(&s.sim.core(0).call(&unmap));
    let reply = s.a.call(s.sim.core(0), &send(0, 0));
    s.refused(&reply, FfaError::Denied);
    for vm in [OS, EndpointId(8)] {
        let reply = s.sim.core(0).call(&send(vm.0, 0));
        s.refused(&reply, FfaError::Denied);
    }
}

#[test]
fn g23_nobody_sends_in_the_name_of_another() {
    let mut s = system();
    for (from, sender) in [(A, C), (A, OS), (A, VM), (OS, VM), (OS, A), (VM, OS)] {
        let version = if from == A {
            Version::V1_1
        } else {
            Version::V1_2
        };
        let reply = s.from(
            from,
            &bytes(version, &header(version, sender, B, 4), b"name"),
        );
        s.refused(&reply, FfaError::InvalidParameters);
    }
    let good = bytes(Version::V1_1, &header(Version::V1_1, A, B, 4), b"good");
    s.sim.write_tx(SLOT_A, &good);
    for speaker in [B.0, VM.0, 0x8000] {
        let reply = s.a.call(s.sim.core(0), &send(speaker, 0));
        s.refused(&reply, FfaError::InvalidParameters);
    }
    let reply = s.sim.core(0).call(&send(A.0, 0));
    s.refused(&reply, FfaError::InvalidParameters);
    ok(&s.a.call(s.sim.core(0), &send(A.0, 0)));
}

#[test]
fn g24_a_message_to_its_sender_to_nobody_or_between_vms_is_refused() {
    let mut s = system();
    for (from, to) in [
        (A, A),
        (A, EndpointId(0x8000)),
        (A, EndpointId(0x8009)),
        (A, EndpointId(8)),
        (A, EndpointId(0xffff)),
        (OS, OS),
        (VM, VM),
        (OS, VM),
        (VM, OS),
    ] {
        let version = if from == A {
            Version::V1_1
        } else {
            Version::V1_2
        };
        let reply = s.from(from, &bytes(version, &header(version, from, to, 2), b"no"));
        s.refused(&reply, FfaError::InvalidParameters);
    }
}

#[test]
fn g25_a_message_that_does_not_fit_is_refused() {
    let mut s = system();
    let version = Version::V1_1;
    let tx = 2 * ROOM as u32;
    let room = ROOM as u32;
    for (offset, size) in [
        (0, 4),
        (19, 4),
        (20, u32::MAX),
        (u32::MAX, 4),
        (u32::MAX, u32::MAX),
        (20, tx - 19),
        (tx, 1),
        (tx + 1, 0),
        // Fits TX, but not RX behind the longer header, or where it is.
        (20, room),
        (20, room - 39),
        (40, room - 39),
        (room, 1),
        (room + 1, 0),
    ] {
        let bad = Header {
            offset,
            ..header(version, A, B, size)
        };
        let (start, length) = bad.encode(version);
        let reply = s.from(A, &start[..length]);
        s.refused(&reply, FfaError::InvalidParameters);
    }
    let message = pattern(ROOM - 40);
    let most = header(version, A, B, room - 40);
    ok(&s.from(A, &bytes(version, &most, &message)));
    assert_eq!(s.sim.rx(SLOT_B).unwrap()[40..], message);
}

#[test]
fn g26_a_full_rx_buffer_keeps_its_message() {
    let mut s = system();
    let version = Version::V1_1;
    let first = bytes(version, &header(version, A, B, 5), b"first");
    ok(&s.from(A, &first));
    let before = s.sim.rx(SLOT_B);
    let second = bytes(version, &header(version, A, B, 6), b"second");
    for _ in 0..3 {
        assert_error(&s.from(A, &second), FfaError::Busy);
        let third = bytes(Version::V1_2, &header(Version::V1_2, OS, B, 5), b"third");
        assert_error(&s.from(OS, &third), FfaError::Busy);
        assert_eq!(s.sim.rx(SLOT_B), before);
    }
    ok(&s.b.call(s.sim.core(0), &release(OS)));
    ok(&s.from(A, &second));
    assert_eq!(s.sim.rx(SLOT_B).unwrap()[40..46], *b"second");
}

#[test]
fn g27_a_receiver_without_an_rx_buffer_is_busy() {
    let mut s = system();
    ok(&s.b.call(s.sim.core(0), &ffa(Function::RxtxUnmap, [0; 4])));
    let version = Version::V1_1;
    let reply = s.from(A, &bytes(version, &header(version, A, B, 1), b"x"));
    assert_error(&reply, FfaError::Busy);
    // A VM that is known by its notifications.
    let create = ffa(Function::NotificationBitmapCreate, [8, 1, 0, 0]);
    ok(&s.sim.core(0).call(&create));
    let reply = s.from(
        A,
        &bytes(version, &header(version, A, EndpointId(8), 1), b"x"),
    );
    assert_error(&reply, FfaError::Busy);
}

#[test]
fn g28_both_sides_have_indirect_messages() {
    let mut s = system();
    let version = Version::V1_1;
    let reply = s.from(A, &bytes(version, &header(version, A, C, 1), b"x"));
    s.refused(&reply, FfaError::Denied);
    let good = bytes(Version::V1_2, &header(Version::V1_2, C, B, 1), b"x");
    s.sim.write_tx(3, &good);
    let reply = s.c.call(s.sim.core(0), &send(0, 0));
    s.refused(&reply, FfaError::Denied);
}

#[test]
fn g29_flags_are_refused() {
    let mut s = system();
    let good = bytes(Version::V1_1, &header(Version::V1_1, A, B, 1), b"x");
    for bit in 0..32 {
        let mut bad = good.clone();
        bad[bit / 8] |= 1 << (bit % 8);
        let reply = s.from(A, &bad);
        s.refused(&reply, FfaError::InvalidParameters);
        if bit != 1 {
            s.sim.write_tx(SLOT_A, &good);
            let reply = s.a.call(s.sim.core(0), &send(0, 1 << bit));
            s.refused(&reply, FfaError::InvalidParameters);
        }
    }
    // To delay is for partitions.
    let of_os = bytes(Version::V1_2, &header(Version::V1_2, OS, B, 1), b"x");
    s.sim.write_tx(SLOT_OS, &of_os);
    let reply = s.sim.core(0).call(&send(0, 2));
    s.refused(&reply, FfaError::InvalidParameters);
    s.sim.write_tx(SLOT_A, &good);
    ok(&s.a.call(s.sim.core(0), &send(0, 2)));
}

#[test]
fn g30_what_the_message_does_not_fill_is_zero() {
    for (offset, size) in [(20, 0), (20, 3), (40, 3), (100, 30), (20, 2000)] {
        let mut s = system();
        let version = Version::V1_1;
        let sent = Header {
            offset,
            ..header(version, A, B, size)
        };
        let message = pattern(size as usize);
        ok(&s.from(A, &bytes(version, &sent, &message)));
        let mut expected = vec![0; ROOM];
        let shown = sent.for_receiver(Version::V1_2);
        let (start, length) = shown.encode(Version::V1_2);
        expected[..length].copy_from_slice(&start[..length]);
        let at = shown.offset as usize;
        expected[at..at + message.len()].copy_from_slice(&message);
        assert_eq!(
            s.sim.rx(SLOT_B),
            Some(expected),
            "offset {offset} size {size}"
        );
    }
}

/// M24: another core rewrites TX after each time that it is read.
#[test]
fn m24_a_header_that_changes_is_read_once() {
    let mut s = system();
    let version = Version::V1_1;
    let good = bytes(version, &header(version, A, B, 4), b"good");
    let evil = bytes(version, &header(version, C, A, 4000), b"evil");
    s.sim.rewrite_tx_after_each_read(SLOT_A, &evil);
    ok(&s.from(A, &good));
    let rx = s.sim.rx(SLOT_B).unwrap();
    let found = Header::decode(Version::V1_2, &rx, rx.len()).unwrap();
    assert_eq!((found.sender, found.receiver, found.size), (A, B, 4));
    assert_eq!(rx[44..], vec![0; ROOM - 44]);
}

#[test]
fn n13_a_full_rx_buffer_is_told_of_once_and_only_to_whom_it_concerns() {
    let mut s = system();
    let version = Version::V1_1;
    let ask = call([
        Function::NotificationInfoGet.id(Width::W64),
        0,
        0,
        0,
        0,
        0,
        0,
        0,
    ]);
    // A receives no notifications.
    let to_a = bytes(Version::V1_2, &header(Version::V1_2, B, A, 1), b"x");
    ok(&s.from(B, &to_a));
    assert_error(&s.sim.core(0).call(&ask), FfaError::NoData);
    assert_eq!(s.sim.core(0).machine.schedule_receiver, 0);
    let to_b = bytes(version, &header(version, A, B, 1), b"x");
    ok(&s.from(A, &to_b));
    assert_error(&s.from(A, &to_b), FfaError::Busy);
    assert_eq!(s.sim.core(0).machine.schedule_receiver, 1);
    let reply = s.sim.core(0).call(&ask);
    assert_eq!(reply.x[2..4], [1 << 7, u64::from(B.0)]);
    assert_error(&s.sim.core(0).call(&ask), FfaError::NoData);
    let reply = s.b.call(s.sim.core(0), &get(B));
    assert_eq!(reply.x[2..8], [0, 0, 0, 0, 1, 0]);
    let reply = s.b.call(s.sim.core(0), &get(B));
    assert_eq!(reply.x[2..8], [0; 6]);
    // The same to a VM that has bitmaps, and to one that has not.
    let to_vm = bytes(version, &header(version, A, VM, 1), b"x");
    ok(&s.from(A, &to_vm));
    assert_error(&s.sim.core(0).call(&ask), FfaError::NoData);
    ok(&s.sim.core(0).call(&release(VM)));
    let create = [u64::from(VM.0), 2, 0, 0];
    ok(&s
        .sim
        .core(0)
        .call(&ffa(Function::NotificationBitmapCreate, create)));
    ok(&s.from(A, &to_vm));
    let reply = s.sim.core(0).call(&get(VM));
    assert_eq!(reply.x[2..8], [0, 0, 0, 0, 1, 0]);
}
