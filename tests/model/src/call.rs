// SPDX-License-Identifier: MIT OR Apache-2.0
//! Calls as decoded descriptors, and their outcomes. Offsets and lengths count constituents, not bytes.
use crate::page::{Content, Domain, Id, Kind, Space};
use bulkhead_abi::FfaError;

/// The kind of a transaction.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Type {
    /// FFA_MEM_SHARE: both keep it.
    Share,
    /// FFA_MEM_LEND: the owner gives up access.
    Lend,
    /// FFA_MEM_DONATE: the owner gives up the page.
    Donate,
}

/// The data access field of a permission.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Data {
    /// Not given.
    Unspecified,
    /// Read only.
    ReadOnly,
    /// Read and write.
    ReadWrite,
}

/// The instruction access field of a permission.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Instruction {
    /// Not given.
    Unspecified,
    /// Not executable.
    Never,
    /// Executable.
    Execute,
}

/// The memory type field of the attributes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TypeField {
    /// Not given.
    Unspecified,
    /// One of the two that are supported.
    Is(Kind),
    /// Another cacheability, shareability or device type.
    Other,
}

/// Whether the bytes could be decoded at all; the parser's verdict (S1, S4, S6–S8, S14, S16).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Shape {
    /// Decoded.
    Good,
    /// Lengths, offsets, sizes or reserved fields are wrong.
    Bad,
}

/// One memory access descriptor.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Receiver {
    /// Borrower.
    pub id: Id,
    /// Data access.
    pub data: Data,
    /// Instruction access.
    pub instruction: Instruction,
}

/// One run of pages as written: any value.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Constituent {
    /// Address in bytes.
    pub address: u64,
    /// Pages.
    pub count: u32,
}

/// FFA_MEM_SHARE, LEND and DONATE, and what is kept of them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Send {
    /// Which of the three.
    pub kind: Type,
    /// Verdict on the bytes.
    pub shape: Shape,
    /// Sender.
    pub sender: Id,
    /// Tag.
    pub tag: u64,
    /// Handle field.
    pub handle: u64,
    /// Flag bit 0: zero before the first retrieve.
    pub zero: bool,
    /// Flag bit 1: time slicing.
    pub time_slice: bool,
    /// Any other flag.
    pub other_flags: bool,
    /// Memory type.
    pub memory: TypeField,
    /// NS bit of the attributes.
    pub ns: bool,
    /// Borrowers.
    pub receivers: Vec<Receiver>,
    /// Total page count as declared.
    pub pages: u32,
    /// Constituents as declared; more than present means fragments follow.
    pub count: u32,
    /// Constituents that are present.
    pub constituents: Vec<Constituent>,
}

/// FFA_MEM_FRAG_TX.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FragTx {
    /// Transaction.
    pub handle: u64,
    /// Endpoint field: the sender from the normal world, 0 from a partition.
    pub sender: Id,
    /// `Bad`: zero, unaligned or longer than the buffer, or splits a constituent.
    pub shape: Shape,
    /// The next constituents.
    pub constituents: Vec<Constituent>,
}

/// FFA_MEM_RETRIEVE_REQ. From the normal world without receivers it is the hypervisor's form.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Retrieve {
    /// Verdict on the bytes; a fragmented request is bad.
    pub shape: Shape,
    /// Who borrows: the caller, or one of the hypervisor's VMs.
    pub borrower: Id,
    /// Sender of the transaction.
    pub sender: Id,
    /// Tag.
    pub tag: u64,
    /// Transaction.
    pub handle: u64,
    /// Flags bits 4:3: the type, or any.
    pub kind: Option<Type>,
    /// Flag bit 0: zero before.
    pub zero: bool,
    /// Flag bit 2: zero after relinquish.
    pub zero_after: bool,
    /// Flag bit 10: only the borrower's own entry is listed.
    pub bypass: bool,
    /// Flag bit 9 or 8:5: an alignment hint.
    pub hint: bool,
    /// Any other flag.
    pub other_flags: bool,
    /// Memory type.
    pub memory: TypeField,
    /// NS bit of the attributes.
    pub ns: bool,
    /// All borrowers as the lender listed them.
    pub receivers: Vec<Receiver>,
    /// An address range was asked for.
    pub ranges: bool,
}

/// FFA_MEM_FRAG_RX.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FragRx {
    /// Transaction.
    pub handle: u64,
    /// For whom; [`Id::HYPERVISOR`] from the normal world is the hypervisor's form.
    pub borrower: Id,
    /// Constituents that the caller has.
    pub offset: u32,
}

/// FFA_MEM_RELINQUISH.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Relinquish {
    /// Verdict on the bytes.
    pub shape: Shape,
    /// Transaction.
    pub handle: u64,
    /// Flag bit 0: zero the pages.
    pub zero: bool,
    /// Any other flag.
    pub other_flags: bool,
    /// Endpoints.
    pub endpoints: Vec<Id>,
}

/// FFA_MEM_RECLAIM.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Reclaim {
    /// Transaction.
    pub handle: u64,
    /// Flag bit 0: zero the pages.
    pub zero: bool,
    /// Any other flag.
    pub other_flags: bool,
}

/// What happens.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Request {
    /// FFA_MEM_SHARE, LEND, DONATE.
    Send(Send),
    /// FFA_MEM_FRAG_TX.
    FragTx(FragTx),
    /// FFA_MEM_RETRIEVE_REQ.
    Retrieve(Retrieve),
    /// FFA_MEM_FRAG_RX.
    FragRx(FragRx),
    /// FFA_MEM_RELINQUISH.
    Relinquish(Relinquish),
    /// FFA_MEM_RECLAIM.
    Reclaim(Reclaim),
    /// FFA_RX_RELEASE.
    RxRelease,
    /// FFA_RXTX_MAP of one page each, by page number.
    RxtxMap {
        /// Receive buffer.
        rx: u64,
        /// Transmit buffer.
        tx: u64,
    },
    /// FFA_RXTX_UNMAP.
    RxtxUnmap,
    /// The calling partition dies.
    Death,
    /// The hypervisor says that a VM is gone.
    VmDestroyed(Id),
    /// The caller loads from or stores to a page.
    Touch {
        /// Page number.
        page: u64,
        /// A store.
        write: bool,
    },
}

/// A request and who makes it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Call {
    /// Caller.
    pub from: Domain,
    /// Request.
    pub request: Request,
}

/// What the rules leave open, told from outside.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Oracle {
    /// A pool is empty at some allocation of this call.
    pub no_memory: bool,
    /// An interrupt is pending while the call zeroes pages.
    pub interrupt: bool,
}

/// FFA_MEM_RETRIEVE_RESP.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Response {
    /// Sender.
    pub sender: Id,
    /// Tag.
    pub tag: u64,
    /// Type.
    pub kind: Type,
    /// The lender asked for zeroed memory.
    pub zero: bool,
    /// Memory type.
    pub memory: Kind,
    /// NS bit: the truth for 1.1 and later, nothing before.
    pub ns: Option<Space>,
    /// The borrower's own entry, or all for the hypervisor.
    pub receivers: Vec<Receiver>,
    /// Constituents in all.
    pub count: u32,
    /// Those in this fragment.
    pub constituents: Vec<Constituent>,
}

/// What the caller sees.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Outcome {
    /// FFA_SUCCESS without values.
    Success,
    /// FFA_SUCCESS with a handle.
    Handle(u64),
    /// FFA_MEM_FRAG_RX: send on from this constituent.
    SendMore(u64, u32),
    /// FFA_MEM_RETRIEVE_RESP.
    Retrieved(Box<Response>),
    /// FFA_MEM_FRAG_TX: the next constituents.
    Fragment(Vec<Constituent>),
    /// FFA_ERROR.
    Error(FfaError),
    /// FFA_INTERRUPT: the same call again continues.
    Interrupt,
    /// The load gave this, the store succeeded.
    Data(Content),
    /// The access faults.
    Fault,
}
