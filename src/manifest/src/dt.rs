// SPDX-License-Identifier: MIT OR Apache-2.0
//! Device trees: validated first, then read.
//!
//! The `fdt` crate reads nodes and properties, but it panics on what is not a well-formed tree (it
//! slices, asserts and expects). So it is reached only through [`Tree`], which exists only after
//! the validator has seen every byte that `fdt` will read. What `fdt` relies on:
//! - the blocks lie within the bytes, and every token, name, value and string within its block;
//! - names are UTF-8 with a NUL, the root has none, nodes nest no deeper than its table of parents;
//! - properties stand before children, and no FDT_NOP is in between (it would end an iteration);
//! - `#address-cells` and `#size-cells` are one cell (it expects four bytes).

mod validate;

use core::fmt;

use fdt::Fdt;
use fdt::node::FdtNode;

use crate::error::{Document, ManifestError, NodePath, Rule};
use crate::range::Range;

pub use validate::{MAX_DEPTH, MAX_SIZE};

/// A property that the bindings define: its name and how it is written.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// The name.
    pub name: &'static str,
    /// What to write, as an imperative.
    pub fix: &'static str,
}

impl Field {
    /// A property `name` and the imperative that errors about it end in.
    pub const fn new(name: &'static str, fix: &'static str) -> Self {
        Self { name, fix }
    }
}

/// A device tree whose whole structure has been checked.
#[derive(Clone, Copy, Debug)]
pub struct Tree<'a> {
    fdt: Fdt<'a>,
    document: Document,
    size: usize,
}

impl<'a> Tree<'a> {
    /// Validates the device tree at the start of `bytes`; what follows its total size is not looked at.
    ///
    /// # Errors
    /// `BadFdtHeader`, `Truncated`, `TreeTooLarge`, `BadStructure`, `DuplicateProperty`,
    /// `DuplicateNode` and `MalformedInteger` (cell counts).
    pub fn parse(bytes: &'a [u8], document: Document) -> Result<Self, ManifestError<'a>> {
        let bytes = validate::validate(bytes, document)?;
        let fdt = Fdt::new(bytes).map_err(|_| {
            ManifestError::new(
                document,
                NodePath::ROOT,
                Rule::BadFdtHeader,
                "compile it with dtc",
            )
        })?;
        Ok(Self {
            fdt,
            document,
            size: bytes.len(),
        })
    }

    /// The total size in bytes.
    pub const fn size(&self) -> usize {
        self.size
    }

    /// The root node. A validated tree has one; the iterator form spares callers a case that is not.
    pub fn root(&self) -> Option<Node<'_, 'a>> {
        Some(Node {
            node: self.fdt.find_node("/")?,
            parent: "",
            document: self.document,
        })
    }

    /// All children of the root.
    pub fn top_level(&self) -> impl Iterator<Item = Node<'_, 'a>> {
        self.root().into_iter().flat_map(|root| root.children())
    }

    /// The child of the root with exactly this name.
    pub fn child(&self, name: &str) -> Option<Node<'_, 'a>> {
        self.root()?.child(name)
    }
}

/// A node of a validated tree.
#[derive(Clone, Copy)]
pub struct Node<'t, 'a> {
    node: FdtNode<'t, 'a>,
    parent: &'a str,
    document: Document,
}

impl fmt::Debug for Node<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.path(), f)
    }
}

impl<'t, 'a> Node<'t, 'a> {
    /// The name with its unit address; empty for the root.
    pub const fn name(&self) -> &'a str {
        self.node.name
    }

    /// The name without its unit address.
    pub fn base_name(&self) -> &'a str {
        self.name().split('@').next().unwrap_or_default()
    }

    /// The name and the parent's, for errors.
    pub const fn path(&self) -> NodePath<'a> {
        NodePath {
            parent: self.parent,
            name: self.node.name,
        }
    }

    /// The children in the order of the tree.
    pub fn children(self) -> impl Iterator<Item = Node<'t, 'a>> {
        self.node.children().map(move |node| Node {
            node,
            parent: self.node.name,
            document: self.document,
        })
    }

    /// The child with exactly this name.
    pub fn child(self, name: &str) -> Option<Node<'t, 'a>> {
        self.children().find(|child| child.name() == name)
    }

    /// All properties: name and value.
    pub fn properties(self) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        self.node
            .properties()
            .map(|property| (property.name, property.value))
    }

    /// The value of a property.
    pub fn property(self, name: &str) -> Option<&'a [u8]> {
        self.node.property(name).map(|property| property.value)
    }

    /// Whether the `compatible` list names `wanted`.
    pub fn is_compatible(self, wanted: &str) -> bool {
        self.property("compatible")
            .is_some_and(|list| strings(list).any(|string| string == wanted))
    }

    /// Whether `status` is absent, "okay" or "ok".
    pub fn is_enabled(self) -> bool {
        self.property("status")
            .is_none_or(|list| strings(list).any(|string| string == "okay" || string == "ok"))
    }

    /// The cell counts for `reg` of the children; 2 and 1 where the node does not say.
    pub fn cells(self) -> Cells {
        let count = |name, default| {
            self.property(name)
                .and_then(be_u32)
                .and_then(|cells| usize::try_from(cells).ok())
                .unwrap_or(default)
        };
        Cells {
            address: count("#address-cells", 2),
            size: count("#size-cells", 1),
        }
    }

    /// An error about this node.
    pub const fn error(&self, rule: Rule, fix: &'static str) -> ManifestError<'a> {
        ManifestError::new(self.document, self.path(), rule, fix)
    }

    /// An error about a property of this node.
    pub const fn field_error(&self, field: Field, rule: Rule) -> ManifestError<'a> {
        self.error(rule, field.fix).property(field.name)
    }

    /// The error for a property that must be there.
    pub const fn missing(&self, field: Field) -> ManifestError<'a> {
        self.field_error(field, Rule::MissingProperty)
    }

    /// Refuses a node that is not `wanted`.
    ///
    /// # Errors
    /// `NotCompatible`.
    pub fn require_compatible(
        self,
        wanted: &str,
        fix: &'static str,
    ) -> Result<(), ManifestError<'a>> {
        if self.is_compatible(wanted) {
            Ok(())
        } else {
            Err(self.field_error(Field::new("compatible", fix), Rule::NotCompatible))
        }
    }

    /// A flag: true if the property is there.
    ///
    /// # Errors
    /// `MalformedBoolean` if it has a value.
    pub fn flag(self, field: Field) -> Result<bool, ManifestError<'a>> {
        match self.property(field.name) {
            None => Ok(false),
            Some([]) => Ok(true),
            Some(_) => Err(self.field_error(field, Rule::MalformedBoolean)),
        }
    }

    /// An integer of one or two cells.
    ///
    /// # Errors
    /// `MalformedInteger`.
    pub fn integer(self, field: Field) -> Result<Option<u64>, ManifestError<'a>> {
        self.property(field.name)
            .map(|value| {
                be_integer(value).ok_or_else(|| self.field_error(field, Rule::MalformedInteger))
            })
            .transpose()
    }

    /// An integer of one or two cells that is at most `max`.
    ///
    /// # Errors
    /// `MalformedInteger`.
    pub fn integer_up_to(self, field: Field, max: u64) -> Result<Option<u64>, ManifestError<'a>> {
        match self.integer(field)? {
            Some(value) if value > max => {
                Err(self.field_error(field, Rule::MalformedInteger).value(value))
            }
            value => Ok(value),
        }
    }

    /// An integer that fits 32 bits.
    ///
    /// # Errors
    /// `MalformedInteger`.
    pub fn u32(self, field: Field) -> Result<Option<u32>, ManifestError<'a>> {
        Ok(self
            .integer_up_to(field, u64::from(u32::MAX))?
            .and_then(|value| u32::try_from(value).ok()))
    }

    /// [`Node::integer`], required.
    ///
    /// # Errors
    /// `MissingProperty`, `MalformedInteger`.
    pub fn require_integer(self, field: Field) -> Result<u64, ManifestError<'a>> {
        self.integer(field)?.ok_or_else(|| self.missing(field))
    }

    /// [`Node::u32`], required.
    ///
    /// # Errors
    /// `MissingProperty`, `MalformedInteger`.
    pub fn require_u32(self, field: Field) -> Result<u32, ManifestError<'a>> {
        self.u32(field)?.ok_or_else(|| self.missing(field))
    }

    /// A list of cells.
    ///
    /// # Errors
    /// `MalformedInteger` if the length is not a multiple of `tuple` cells.
    pub fn cell_list(
        self,
        field: Field,
        tuple: usize,
    ) -> Result<Option<CellList<'a>>, ManifestError<'a>> {
        self.property(field.name)
            .map(|value| {
                let length = tuple.saturating_mul(4);
                if length == 0 || value.len().checked_rem(length) != Some(0) {
                    return Err(self.field_error(field, Rule::MalformedInteger));
                }
                Ok(CellList(value))
            })
            .transpose()
    }

    /// A string.
    ///
    /// # Errors
    /// `MalformedString`.
    pub fn string(self, field: Field) -> Result<Option<&'a str>, ManifestError<'a>> {
        self.property(field.name)
            .map(|value| {
                string(value).ok_or_else(|| self.field_error(field, Rule::MalformedString))
            })
            .transpose()
    }

    /// The ranges of `reg`, by the cell counts of the parent.
    ///
    /// # Errors
    /// `MissingProperty`, `MalformedInteger`, `Overflow`.
    pub fn reg(self, cells: Cells, field: Field) -> Result<RegList<'a>, ManifestError<'a>> {
        let value = self
            .property(field.name)
            .ok_or_else(|| self.missing(field))?;
        let list = RegList::new(value, cells)
            .ok_or_else(|| self.field_error(field, Rule::MalformedInteger))?;
        match list
            .pairs()
            .find(|&(base, size)| Range::new(base, size).is_none())
        {
            Some((base, _)) => Err(self.field_error(field, Rule::Overflow).value(base)),
            None => Ok(list),
        }
    }
}

/// How many cells an address and a size have in `reg` of a node's children.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cells {
    /// `#address-cells`.
    pub address: usize,
    /// `#size-cells`.
    pub size: usize,
}

/// A property that is a list of cells, its length a multiple of four.
#[derive(Clone, Copy, Debug, Default)]
pub struct CellList<'a>(&'a [u8]);

impl<'a> CellList<'a> {
    /// The cells one by one.
    pub fn cells(self) -> impl Iterator<Item = u32> + Clone + 'a {
        self.0.chunks_exact(4).filter_map(be_u32)
    }

    /// The cells in groups of `N`; an incomplete last group is left out (the reader checked the length).
    pub fn tuples<const N: usize>(self) -> impl Iterator<Item = [u32; N]> + Clone + 'a {
        let mut cells = self.cells();
        core::iter::from_fn(move || {
            let mut tuple = [0; N];
            for cell in &mut tuple {
                *cell = cells.next()?;
            }
            (N != 0).then_some(tuple)
        })
    }

    /// The number of cells.
    pub const fn count(self) -> usize {
        self.0.len() / 4
    }
}

/// A checked `reg` property.
#[derive(Clone, Copy, Debug)]
pub struct RegList<'a> {
    value: &'a [u8],
    address_bytes: usize,
    entry_bytes: usize,
}

impl<'a> RegList<'a> {
    fn new(value: &'a [u8], cells: Cells) -> Option<Self> {
        if !matches!(cells.address, 1 | 2) || cells.size > 2 {
            return None;
        }
        let address_bytes = cells.address.checked_mul(4)?;
        let entry_bytes = address_bytes.checked_add(cells.size.checked_mul(4)?)?;
        (!value.is_empty() && value.len().checked_rem(entry_bytes) == Some(0)).then_some(Self {
            value,
            address_bytes,
            entry_bytes,
        })
    }

    /// The addresses and sizes; a size of no cells is zero.
    fn pairs(self) -> impl Iterator<Item = (u64, u64)> + Clone + 'a {
        self.value
            .chunks_exact(self.entry_bytes.max(1))
            .filter_map(move |entry| {
                let (address, size) = entry.split_at_checked(self.address_bytes)?;
                Some((be_integer(address)?, be_integer(size).unwrap_or(0)))
            })
    }

    /// The ranges.
    pub fn ranges(self) -> impl Iterator<Item = Range> + Clone + 'a {
        self.pairs()
            .filter_map(|(base, size)| Range::new(base, size))
    }
}

/// The strings of a string list.
fn strings(list: &[u8]) -> impl Iterator<Item = &str> {
    list.split(|&byte| byte == 0)
        .filter(|string| !string.is_empty())
        .filter_map(|string| core::str::from_utf8(string).ok())
}

/// A value that is one string: one NUL, at the end; no control characters, as it goes into logs.
fn string(value: &[u8]) -> Option<&str> {
    let (0, text) = value.split_last()? else {
        return None;
    };
    let text = core::str::from_utf8(text).ok()?;
    (!text.chars().any(char::is_control)).then_some(text)
}

/// One big-endian cell.
fn be_u32(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

/// One or two big-endian cells.
fn be_integer(bytes: &[u8]) -> Option<u64> {
    match bytes.len() {
        4 => be_u32(bytes).map(u64::from),
        8 => Some(u64::from_be_bytes(bytes.try_into().ok()?)),
        _ => None,
    }
}
