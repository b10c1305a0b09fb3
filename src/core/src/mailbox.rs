// SPDX-License-Identifier: MIT OR Apache-2.0
//! The RX/TX buffer pair of an endpoint and who owns RX.

use arrayvec::ArrayVec;
use bulkhead_abi::FfaError;
use bulkhead_mm::addr::{PAGE_SIZE, Pa, PageRange};
use bulkhead_mm::attrs::Space;

/// The most pages of a buffer: 64 KiB, so that a normal world with 64 KiB pages is served.
pub const MAX_PAGES: u16 = 16;

/// [`MAX_PAGES`] as a length.
const CAPACITY: usize = 16;

/// The physical pages of a buffer in their order, 1 to [`MAX_PAGES`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Buffer {
    pages: ArrayVec<Pa, CAPACITY>,
}

impl Buffer {
    /// A buffer of all pages of `ranges`, in that order.
    ///
    /// # Errors
    /// The first of `ranges`; INVALID_PARAMETERS without a page, or with more than [`MAX_PAGES`].
    pub fn new(
        ranges: impl IntoIterator<Item = Result<PageRange, FfaError>>,
    ) -> Result<Self, FfaError> {
        let mut pages = ArrayVec::new();
        for range in ranges {
            for page in range?.iter() {
                pages
                    .try_push(page)
                    .map_err(|_| FfaError::InvalidParameters)?;
            }
        }
        if pages.is_empty() {
            return Err(FfaError::InvalidParameters);
        }
        Ok(Self { pages })
    }

    /// The length in bytes.
    pub fn bytes(&self) -> usize {
        const PAGE: usize = 4096;
        self.pages.len().saturating_mul(PAGE)
    }

    /// The pages in runs that are contiguous.
    pub fn runs(&self) -> impl Iterator<Item = PageRange> + Clone {
        self.pages
            .chunk_by(|page, next| page.0.checked_add(PAGE_SIZE) == Some(next.0))
            .filter_map(|run| {
                let bytes = u64::try_from(run.len()).ok()?.checked_mul(PAGE_SIZE)?;
                PageRange::new(*run.first()?, bytes)
            })
    }

    /// Whether the buffers have a page in common.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.runs()
            .any(|run| other.runs().any(|theirs| run.overlaps(&theirs)))
    }

    /// Whether one of the pages stands there twice.
    fn repeats(&self) -> bool {
        let mut rest = self.pages.as_slice();
        while let [page, others @ ..] = rest {
            if others.contains(page) {
                return true;
            }
            rest = others;
        }
        false
    }
}

/// RX and TX buffers by physical address; they have no page in common.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MailboxBuffers {
    /// Written by Bulkhead, read by the endpoint.
    pub rx: Buffer,
    /// Written by the endpoint, read by Bulkhead.
    pub tx: Buffer,
    /// The physical address space of both.
    pub space: Space,
}

impl MailboxBuffers {
    /// A pair of buffers.
    ///
    /// # Errors
    /// INVALID_PARAMETERS when a page is in both or twice in one (M1, M5).
    pub fn new(rx: Buffer, tx: Buffer, space: Space) -> Result<Self, FfaError> {
        if rx.overlaps(&tx) || rx.repeats() || tx.repeats() {
            return Err(FfaError::InvalidParameters);
        }
        Ok(Self { rx, tx, space })
    }

    /// The pages of both in runs that are contiguous.
    pub fn runs(&self) -> impl Iterator<Item = PageRange> + Clone {
        self.rx.runs().chain(self.tx.runs())
    }

    /// Whether a page of one pair is a page of the other.
    pub fn overlaps(&self, other: &Self) -> bool {
        [&self.rx, &self.tx]
            .iter()
            .any(|own| own.overlaps(&other.rx) || own.overlaps(&other.tx))
    }
}

/// An endpoint's mailbox.
#[expect(
    clippy::large_enum_variant,
    reason = "mailboxes stand in tables, and most are mapped"
)]
#[derive(Clone, PartialEq, Eq, Debug, Default)]
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
    /// The hypervisor, which acquired the buffer of a VM to write to it itself.
    Hypervisor,
}

impl Mailbox {
    /// The buffers, if there are any.
    pub fn buffers(&self) -> Option<&MailboxBuffers> {
        match self {
            Self::Mapped { buffers, .. } => Some(buffers),
            Self::Unmapped => None,
        }
    }

    /// The size of RX in bytes if Bulkhead may fill it.
    ///
    /// # Errors
    /// BUSY while it is not mapped or somebody else owns it (D3).
    pub fn writable(&self) -> Result<usize, FfaError> {
        match self {
            Self::Mapped {
                buffers,
                rx: RxOwner::Producer,
            } => Ok(buffers.rx.bytes()),
            _ => Err(FfaError::Busy),
        }
    }

    /// Hands a filled RX buffer to the endpoint.
    pub fn give(&mut self) {
        if let Self::Mapped { rx, .. } = self {
            *rx = RxOwner::Consumer;
        }
    }

    /// Hands an empty RX buffer to the hypervisor.
    ///
    /// # Errors
    /// INVALID_PARAMETERS without a buffer, DENIED when it is not Bulkhead's.
    pub fn acquire(&mut self) -> Result<(), FfaError> {
        match self {
            Self::Mapped {
                rx: rx @ RxOwner::Producer,
                ..
            } => {
                *rx = RxOwner::Hypervisor;
                Ok(())
            }
            Self::Mapped { .. } => Err(FfaError::Denied),
            Self::Unmapped => Err(FfaError::InvalidParameters),
        }
    }

    /// Takes RX back from whoever has it.
    ///
    /// # Errors
    /// DENIED if it is Bulkhead's already, or there is none (M21).
    pub fn release(&mut self) -> Result<(), FfaError> {
        match self {
            Self::Mapped {
                rx: rx @ (RxOwner::Consumer | RxOwner::Hypervisor),
                ..
            } => {
                *rx = RxOwner::Producer;
                Ok(())
            }
            _ => Err(FfaError::Denied),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(base: u64, pages: u64) -> PageRange {
        PageRange::new(Pa(base), pages * PAGE_SIZE).unwrap()
    }

    fn buffer(ranges: &[PageRange]) -> Buffer {
        Buffer::new(ranges.iter().copied().map(Ok)).unwrap()
    }

    #[test]
    fn m3_m4_a_buffer_has_between_one_and_the_most_pages() {
        assert_eq!(Buffer::new([]), Err(FfaError::InvalidParameters));
        let all = u64::from(MAX_PAGES);
        assert_eq!(buffer(&[range(0, all)]).bytes(), 0x1_0000);
        assert_eq!(
            Buffer::new([Ok(range(0, all)), Ok(range(0x10_0000, 1))]),
            Err(FfaError::InvalidParameters)
        );
    }

    #[test]
    fn runs_join_what_is_contiguous_and_keep_the_order() {
        let pages = buffer(&[range(0x5000, 1), range(0x6000, 2), range(0x1000, 1)]);
        let runs: Vec<_> = pages.runs().collect();
        assert_eq!(runs, [range(0x5000, 3), range(0x1000, 1)]);
        assert_eq!(pages.bytes(), 0x4000);
    }

    #[test]
    fn m5_buffers_share_no_page() {
        let space = Space::NonSecure;
        let make = |rx: &[PageRange], tx: &[PageRange]| {
            MailboxBuffers::new(buffer(rx), buffer(tx), space).map(|_| ())
        };
        let refused = Err(FfaError::InvalidParameters);
        assert_eq!(make(&[range(0x1000, 4)], &[range(0x4000, 4)]), refused);
        assert_eq!(make(&[range(0x1000, 4)], &[range(0x2000, 1)]), refused);
        let twice = [range(0x1000, 1), range(0x3000, 1), range(0x1000, 1)];
        assert_eq!(make(&twice, &[range(0x8000, 1)]), refused);
        assert_eq!(make(&[range(0x8000, 1)], &twice), refused);
        assert_eq!(make(&[range(0x1000, 4)], &[range(0x5000, 4)]), Ok(()));
    }

    /// A.2's machine: each state with each event.
    #[test]
    fn a08_rx_changes_hands_only_as_the_states_allow() {
        use RxOwner::{Consumer, Hypervisor, Producer};
        type Event = fn(&mut Mailbox) -> Result<(), FfaError>;
        let fill: Event = |mailbox| {
            mailbox.writable()?;
            mailbox.give();
            Ok(())
        };
        let buffers = MailboxBuffers::new(
            buffer(&[range(0x1000, 1)]),
            buffer(&[range(0x2000, 1)]),
            Space::NonSecure,
        )
        .unwrap();
        let events: [Event; 3] = [fill, Mailbox::acquire, Mailbox::release];
        let (busy, denied) = (Err(FfaError::Busy), Err(FfaError::Denied));
        for (owner, expected) in [
            (Producer, [Ok(Consumer), Ok(Hypervisor), denied]),
            (Consumer, [busy, denied, Ok(Producer)]),
            (Hypervisor, [busy, denied, Ok(Producer)]),
        ] {
            for (event, expected) in events.into_iter().zip(expected) {
                let before = Mailbox::Mapped {
                    buffers: buffers.clone(),
                    rx: owner,
                };
                let mut mailbox = before.clone();
                let result = event(&mut mailbox);
                assert_eq!(result, expected.map(|_| ()));
                let after = expected.map_or(before, |rx| Mailbox::Mapped {
                    buffers: buffers.clone(),
                    rx,
                });
                assert_eq!(mailbox, after);
            }
        }
        let mut none = Mailbox::Unmapped;
        let refused = [
            FfaError::Busy,
            FfaError::InvalidParameters,
            FfaError::Denied,
        ];
        assert_eq!(events.map(|event| event(&mut none)), refused.map(Err));
        assert_eq!(none, Mailbox::Unmapped);
    }
}
