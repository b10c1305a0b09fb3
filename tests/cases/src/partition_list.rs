// SPDX-License-Identifier: MIT OR Apache-2.0
//! The descriptors of FFA_PARTITION_INFO_GET, read independently of the firmware's own writer.

use arrayvec::ArrayVec;
use bulkhead_abi::partition_info::Properties;
use bulkhead_abi::{EndpointId, Function, Uuid, Version, Width};
use bulkhead_payload::memory::{MAILBOX, PAGE_SIZE};
use bulkhead_payload::{Reply, Request};

use crate::outcome::{TestResult, Verdict};
use crate::protocol::Caller;
use crate::{ensure, fail};

/// Flag of FFA_PARTITION_INFO_GET: return the count only.
pub const COUNT_ONLY: u64 = 1;

/// A descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PartitionDescriptor {
    /// The partition.
    pub id: EndpointId,
    /// How many execution contexts it has.
    pub contexts: u16,
    /// What it can do.
    pub properties: Properties,
    /// The protocol UUID, from FF-A 1.1; nil when the request had a filter.
    pub uuid: Uuid,
}

/// The descriptors of one reply.
pub type Descriptors = ArrayVec<PartitionDescriptor, 32>;

/// FFA_PARTITION_INFO_GET with a UUID and flags.
pub fn request(uuid: Uuid, flags: u64) -> Request {
    let [w0, w1, w2, w3] = uuid.to_words().map(u64::from);
    Request::ffa(Function::PartitionInfoGet, Width::W32).with([w0, w1, w2, w3, flags])
}

/// The size of a descriptor for a caller of `version`, in bytes.
pub fn descriptor_size(version: Version) -> usize {
    if version < Version::V1_1 {
        8
    } else if version < Version::V1_3 {
        24
    } else {
        48
    }
}

/// Reads the descriptors that a successful reply left in the RX buffer.
///
/// # Errors
/// Fails when the reply's count and size do not fit the version or the buffer.
pub fn descriptors(reply: Reply, version: Version) -> TestResult<Descriptors> {
    let reply = reply.succeeded()?;
    let size = descriptor_size(version);
    if version >= Version::V1_1 {
        ensure!(
            reply.x(3) == size as u64,
            "descriptors for FF-A {version} have {} bytes, not {size}",
            reply.x(3)
        );
    }
    let count = reply.x(2) as usize;
    ensure!(
        count * size <= PAGE_SIZE,
        "{count} descriptors do not fit the RX buffer"
    );
    let mut found = Descriptors::new();
    for index in 0..count {
        let at = index * size;
        let descriptor = PartitionDescriptor {
            id: EndpointId(u16::from_le_bytes(MAILBOX.rx.bytes(at))),
            contexts: u16::from_le_bytes(MAILBOX.rx.bytes(at + 2)),
            properties: Properties(u32::from_le_bytes(MAILBOX.rx.bytes(at + 4))),
            uuid: if size > 8 {
                Uuid(MAILBOX.rx.bytes(at + 8))
            } else {
                Uuid::NIL
            },
        };
        if found.try_push(descriptor).is_err() {
            fail!("{count} partitions are more than this payload has room for");
        }
    }
    Ok(found)
}

/// Gets the descriptors for a UUID, nil for all, and releases the RX buffer.
///
/// # Errors
/// Fails when either call does.
pub fn get(caller: &mut impl Caller, version: Version, uuid: Uuid) -> TestResult<Descriptors> {
    let reply = caller.call(request(uuid, 0));
    let found = descriptors(reply, version)?;
    caller.ffa(Function::RxRelease, []).succeeded()?;
    Ok(found)
}
