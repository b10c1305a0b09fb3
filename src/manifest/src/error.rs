// SPDX-License-Identifier: MIT OR Apache-2.0
//! Why a manifest is refused: document, node, property, value, rule, and what to write instead.

use core::fmt;

/// The document that an error is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Document {
    /// The SPMC manifest (`tos_fw_config`).
    Spmc,
    /// A partition's manifest, from its package.
    Partition,
}

impl fmt::Display for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Spmc => "SPMC manifest",
            Self::Partition => "partition manifest",
        })
    }
}

/// A node by its own name and its parent's, which is enough for every node that the bindings define.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NodePath<'a> {
    /// The parent's name; empty for the root and its children.
    pub parent: &'a str,
    /// The node's name; empty for the root.
    pub name: &'a str,
}

impl NodePath<'_> {
    /// The root node.
    pub const ROOT: Self = Self {
        parent: "",
        name: "",
    };
}

impl fmt::Display for NodePath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.parent.is_empty() {
            write!(f, "/{}", self.parent)?;
        }
        write!(f, "/{}", self.name)
    }
}

/// The rule that a manifest breaks. The comments give the abuse cases (P1 to P21) that end in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    /// Magic, version, size or an offset of the header is out of range (P1).
    BadFdtHeader,
    /// There are fewer bytes than the header announces (P2).
    Truncated,
    /// The tree is larger than any manifest needs to be ([`crate::dt::MAX_SIZE`]).
    TreeTooLarge,
    /// Tokens, nesting, names, lengths, string offsets or phandles are wrong (P4).
    BadStructure,
    /// A node that must exist does not.
    MissingNode,
    /// A property that must exist does not (P5).
    MissingProperty,
    /// An integer has another size than its cells, or does not fit its field (P5).
    MalformedInteger,
    /// A string has no single NUL at its end, or holds control characters.
    MalformedString,
    /// A flag has a value.
    MalformedBoolean,
    /// A UUID is not 16 bytes, or not in the form 8-4-4-4-12.
    MalformedUuid,
    /// The same property twice in a node (P5).
    DuplicateProperty,
    /// The same name for two children of a node.
    DuplicateNode,
    /// A base plus a size leaves the address space (P6).
    Overflow,
    /// Two regions share a page (P7).
    RegionOverlap,
    /// A region is not, or only partly, within memory of its kind (P8).
    OutsideAllowedMemory,
    /// An address is not a multiple of the page size (P9).
    RegionUnaligned,
    /// A region has no page (P9).
    RegionEmpty,
    /// A region is larger than the address space (P9).
    RegionTooLarge,
    /// Access permissions that no region may have (P10).
    BadPermissions,
    /// Two services with one UUID in a partition (P11).
    DuplicateUuid,
    /// The nil UUID names no service (P11).
    NilUuid,
    /// Two endpoints with one id (P11).
    DuplicateId,
    /// An id that is not for partitions (P11).
    ReservedId,
    /// An INTID that two devices claim (P11).
    DuplicateInterrupt,
    /// An INTID that no device can have (P11).
    ReservedInterrupt,
    /// A stream ID that two devices claim (P11).
    DuplicateStream,
    /// More than identifiers or registers can express (P11).
    TooMany,
    /// Two partitions with one boot order, or one that does not fit (P12).
    BootOrder,
    /// A number of execution contexts that cannot be had (P13).
    ExecutionContexts,
    /// A request queue is too long, or of a partition with more than one execution context (E-16).
    RequestQueue,
    /// Load address, entry point, image and memory do not fit each other (P14).
    BadLayout,
    /// A version, level or state that this SPMC does not run (P15).
    NotCompatible,
    /// Bits or values that no revision defines.
    UnknownValue,
    /// DMA permissions, stream IDs and SMMU do not fit each other (P17).
    DmaPolicy,
    /// Messaging bits contradict the version or each other (P18).
    MessagingContradiction,
    /// vmN nodes do not count from 1 without a gap.
    NotContiguous,
    /// `abort-action` asks for what the SPMC manifest does not allow (P19).
    LifecyclePolicy,
    /// There is no page for the boot information in front of the package's parts (P20).
    BootInfoTooSmall,
}

impl Rule {
    /// What is wrong, to be read after the name of the node or property.
    const fn text(self) -> &'static str {
        match self {
            Self::BadFdtHeader => "the device tree's header is wrong",
            Self::Truncated => "the device tree is truncated",
            Self::TreeTooLarge => "the device tree is too large",
            Self::BadStructure => "the device tree's structure is wrong",
            Self::MissingNode => "node is missing",
            Self::MissingProperty => "is missing",
            Self::MalformedInteger => "is not an integer of the right size",
            Self::MalformedString => "is not a string",
            Self::MalformedBoolean => "is a flag and takes no value",
            Self::MalformedUuid => "is not a UUID",
            Self::DuplicateProperty => "stands there twice",
            Self::DuplicateNode => "has two children of one name",
            Self::Overflow => "leaves the address space",
            Self::RegionOverlap => "overlaps",
            Self::OutsideAllowedMemory => "is not within memory of its kind",
            Self::RegionUnaligned => "is not a multiple of the page size",
            Self::RegionEmpty => "is empty",
            Self::RegionTooLarge => "is larger than the address space",
            Self::BadPermissions => "is not a permission that a region may have",
            Self::DuplicateUuid => "names one UUID twice",
            Self::NilUuid => "is the nil UUID",
            Self::DuplicateId => "is the id of another endpoint",
            Self::ReservedId => "is not an id for a partition",
            Self::DuplicateInterrupt => "names an interrupt that is already assigned",
            Self::ReservedInterrupt => "names an interrupt that no device has",
            Self::DuplicateStream => "names a stream that is already assigned",
            Self::TooMany => "is more than can be had",
            Self::BootOrder => "is not a boot order of its own",
            Self::ExecutionContexts => "is not a possible number of execution contexts",
            Self::RequestQueue => "is no request queue that this partition can have",
            Self::BadLayout => "does not fit the partition's layout",
            Self::NotCompatible => "is not supported",
            Self::UnknownValue => "is not a defined value",
            Self::DmaPolicy => "does not describe DMA consistently",
            Self::MessagingContradiction => "contradicts the partition's version",
            Self::NotContiguous => "is not the next vmN node",
            Self::LifecyclePolicy => "is not an action that the SPMC manifest allows",
            Self::BootInfoTooSmall => "asks for boot information that the package has no room for",
        }
    }
}

/// A manifest was refused. The text is one line: file, node, property, value, what is wrong, the rule's name
/// in brackets, and what to write instead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ManifestError<'a> {
    /// Which document.
    pub document: Document,
    /// Where the document comes from, if the caller has said so: a file, a partition.
    pub file: Option<&'a str>,
    /// Which node.
    pub node: NodePath<'a>,
    /// Which property, if it is about one.
    pub property: Option<&'a str>,
    /// The offending value; without a property the offset in the device tree, or its size.
    pub value: Option<u64>,
    /// What the value collides with, if it does.
    pub other: Option<&'a str>,
    /// The broken rule.
    pub rule: Rule,
    /// What to write instead, as an imperative.
    pub fix: &'static str,
}

impl<'a> ManifestError<'a> {
    /// An error about a whole node.
    pub const fn new(
        document: Document,
        node: NodePath<'a>,
        rule: Rule,
        fix: &'static str,
    ) -> Self {
        Self {
            document,
            file: None,
            node,
            property: None,
            value: None,
            other: None,
            rule,
            fix,
        }
    }

    /// Adds the property that it is about.
    #[must_use]
    pub const fn property(mut self, name: &'a str) -> Self {
        self.property = Some(name);
        self
    }

    /// Adds the offending value.
    #[must_use]
    pub const fn value(mut self, value: u64) -> Self {
        self.value = Some(value);
        self
    }

    /// Names the file of an error that is about `document`; one about the other document keeps its own.
    #[must_use]
    pub fn in_file(mut self, document: Document, file: &'a str) -> Self {
        if self.document == document {
            self.file = Some(file);
        }
        self
    }

    /// Adds what the value collides with.
    #[must_use]
    pub const fn other(mut self, name: &'a str) -> Self {
        self.other = Some(name);
        self
    }
}

impl fmt::Display for ManifestError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.file {
            Some(file) => f.write_str(file)?,
            None => self.document.fmt(f)?,
        }
        write!(f, ", {}: ", self.node)?;
        match (self.property, self.value) {
            (Some(property), Some(value)) => write!(f, "property {property} = {value:#x} ")?,
            (Some(property), None) => write!(f, "property {property} ")?,
            (None, _) => {}
        }
        f.write_str(self.rule.text())?;
        if let (None, Some(value)) = (self.property, self.value) {
            match self.rule {
                Rule::Truncated | Rule::TreeTooLarge => write!(f, " ({value:#x} bytes)")?,
                _ => write!(f, " (at {value:#x})")?,
            }
        }
        match (self.other, self.rule) {
            (Some(other), Rule::RegionOverlap) => write!(f, " {other}")?,
            (Some(other), _) => write!(f, " ({other})")?,
            (None, _) => {}
        }
        write!(f, " [{:?}]: {}", self.rule, self.fix)
    }
}

impl core::error::Error for ManifestError<'_> {}
