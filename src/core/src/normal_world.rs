// SPDX-License-Identifier: MIT OR Apache-2.0
//! The normal world as an endpoint.

use bulkhead_abi::Version;
use bulkhead_mm::addr::PageRange;

use crate::mailbox::Mailbox;
use crate::sync::Mutex;
use crate::version::NegotiatedVersion;

/// The state of the normal world's primary endpoint: the hypervisor, or the OS where there is none.
pub(crate) struct NormalWorld {
    pub(crate) version: NegotiatedVersion,
    pub(crate) mailbox: Mutex<Mailbox>,
    pub(crate) memory: &'static [PageRange],
}

impl NormalWorld {
    /// Speaks 1.0, the least, until it says otherwise.
    pub(crate) fn new(memory: &'static [PageRange]) -> Self {
        Self {
            version: NegotiatedVersion::new(Version::V1_0),
            mailbox: Mutex::new(Mailbox::Unmapped),
            memory,
        }
    }

    /// Whether a buffer of the normal world may lie in `range` (M11, M12).
    pub(crate) fn owns(&self, range: &PageRange) -> bool {
        self.memory
            .iter()
            .any(|memory| memory.contains_range(range))
    }
}
