// SPDX-License-Identifier: MIT OR Apache-2.0
//! The RX/TX buffer pair of an endpoint and who owns RX.

use bulkhead_abi::FfaError;

use crate::hardware::MailboxBuffers;

/// The most pages of a buffer: 64 KiB, so that a normal world with 64 KiB pages is served.
pub const MAX_PAGES: u16 = 16;

/// An endpoint's mailbox.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mailbox {
    /// No buffers.
    #[default]
    Unmapped,
    /// Buffers are mapped at S-EL2.
    Mapped {
        /// Where.
        buffers: MailboxBuffers,
        /// Who may touch RX.
        rx: RxOwner,
    },
}

/// Who may touch the RX buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RxOwner {
    /// Bulkhead, the producer: the buffer is empty.
    Producer,
    /// The endpoint: the buffer holds something that it has not released.
    Consumer,
}

impl Mailbox {
    /// The size of RX in bytes if Bulkhead may fill it.
    ///
    /// # Errors
    /// BUSY while it is not mapped or the endpoint owns it (D3).
    pub fn writable(&self) -> Result<usize, FfaError> {
        match self {
            Self::Mapped {
                buffers,
                rx: RxOwner::Producer,
            } => usize::try_from(buffers.rx.bytes()).map_err(|_| FfaError::Busy),
            _ => Err(FfaError::Busy),
        }
    }

    /// Hands a filled RX buffer to the endpoint.
    pub fn give(&mut self) {
        if let Self::Mapped { rx, .. } = self {
            *rx = RxOwner::Consumer;
        }
    }

    /// Takes RX back from the endpoint.
    ///
    /// # Errors
    /// DENIED if the endpoint does not own it (M21).
    pub fn release(&mut self) -> Result<(), FfaError> {
        match self {
            Self::Mapped {
                rx: rx @ RxOwner::Consumer,
                ..
            } => {
                *rx = RxOwner::Producer;
                Ok(())
            }
            _ => Err(FfaError::Denied),
        }
    }
}
