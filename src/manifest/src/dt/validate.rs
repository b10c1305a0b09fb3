// SPDX-License-Identifier: MIT OR Apache-2.0
//! The pass over every byte of a device tree before anything reads it (P1 to P5).
//!
//! The format is the flattened device tree of the Devicetree Specification, chapter 5, version 17.

use zerocopy::byteorder::big_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::error::{Document, ManifestError, NodePath, Rule};

/// How deep nodes nest at most, the root included. The bindings need three levels; the `fdt` crate
/// holds 64 parents.
pub const MAX_DEPTH: usize = 32;

/// The largest tree in bytes. Finding duplicates and overlaps without memory costs the square of a
/// tree's size, and a manifest is a few kilobytes: the SPMC's has 4 KiB on QEMU, a partition's 12 KiB in
/// front of its image.
pub const MAX_SIZE: usize = 0x1_0000;

const MAGIC: u32 = 0xd00d_feed;
const VERSION: u32 = 17;

const BEGIN_NODE: u32 = 1;
const END_NODE: u32 = 2;
const PROP: u32 = 3;
const NOP: u32 = 4;
const END: u32 = 9;

/// The header: 40 bytes, big-endian.
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    magic: U32,
    total_size: U32,
    struct_offset: U32,
    strings_offset: U32,
    reserved_memory_offset: U32,
    version: U32,
    last_compatible_version: U32,
    boot_cpu: U32,
    strings_size: U32,
    struct_size: U32,
}

/// An entry of the memory reservation block; the last one is all zero.
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Reservation {
    address: U64,
    size: U64,
}

/// Checks the tree at the start of `bytes` and returns exactly its bytes.
pub(super) fn validate(bytes: &[u8], document: Document) -> Result<&[u8], ManifestError<'_>> {
    let bad_header = |offset: u32| {
        ManifestError::new(
            document,
            NodePath::ROOT,
            Rule::BadFdtHeader,
            "compile the source with dtc -O dtb -V 17 and load it where the header is expected",
        )
        .value(u64::from(offset))
    };
    let truncated = |needed: u64| {
        ManifestError::new(
            document,
            NodePath::ROOT,
            Rule::Truncated,
            "load all the bytes that its header announces",
        )
        .value(needed)
    };
    // A wrong magic is not a short tree, even where only a few bytes follow.
    if bytes
        .get(..4)
        .is_some_and(|magic| magic != MAGIC.to_be_bytes())
    {
        return Err(bad_header(0));
    }
    let (header, _) =
        Header::read_from_prefix(bytes).map_err(|_| truncated(wide(size_of::<Header>())))?;
    if header.version.get() < VERSION {
        return Err(bad_header(20));
    }
    if header.last_compatible_version.get() > VERSION {
        return Err(bad_header(24));
    }
    let total = narrow(header.total_size.get());
    if total < size_of::<Header>() {
        return Err(bad_header(4));
    }
    if total > MAX_SIZE {
        return Err(ManifestError::new(
            document,
            NodePath::ROOT,
            Rule::TreeTooLarge,
            "keep a manifest below 64 KiB",
        )
        .value(wide(total)));
    }
    let bytes = bytes.get(..total).ok_or_else(|| truncated(wide(total)))?;

    // The two blocks lie behind the header, within the tree, and apart from each other.
    let block = |offset: U32, size: U32| {
        let start = narrow(offset.get());
        let end = start.checked_add(narrow(size.get()))?;
        (start >= size_of::<Header>()).then_some(())?;
        Some((start, bytes.get(start..end)?, end))
    };
    let (struct_start, structure, struct_end) = block(header.struct_offset, header.struct_size)
        .filter(|(start, _, _)| start.is_multiple_of(4))
        .ok_or_else(|| bad_header(8))?;
    let (strings_start, strings, strings_end) =
        block(header.strings_offset, header.strings_size).ok_or_else(|| bad_header(12))?;
    if struct_start < strings_end && strings_start < struct_end {
        return Err(bad_header(12));
    }
    check_reservations(bytes, header.reserved_memory_offset.get()).ok_or_else(|| bad_header(16))?;

    Walk {
        document,
        structure,
        strings,
        base: struct_start,
        open: [Open::default(); MAX_DEPTH],
        depth: 0,
    }
    .run()?;
    Ok(bytes)
}

/// Finds the end of the memory reservation block.
fn check_reservations(bytes: &[u8], offset: u32) -> Option<()> {
    let offset = narrow(offset);
    if offset < size_of::<Header>() || !offset.is_multiple_of(8) {
        return None;
    }
    let mut rest = bytes.get(offset..)?;
    loop {
        let (entry, tail) = Reservation::read_from_prefix(rest).ok()?;
        if entry.address.get() == 0 && entry.size.get() == 0 {
            return Some(());
        }
        rest = tail;
    }
}

/// A node whose end has not been reached.
#[derive(Clone, Copy, Default)]
struct Open<'a> {
    name: &'a str,
    /// Where its properties start in the structure block.
    properties: usize,
    /// Where its first child starts, if one has.
    children: Option<usize>,
}

/// The pass over the structure block.
struct Walk<'a> {
    document: Document,
    structure: &'a [u8],
    strings: &'a [u8],
    /// Offset of the structure block, for messages.
    base: usize,
    /// The open nodes, the root first.
    open: [Open<'a>; MAX_DEPTH],
    depth: usize,
}

/// What stands at a position of the structure block.
enum Token<'a> {
    Begin(&'a str),
    End,
    Property { name_offset: u32, value: &'a [u8] },
    Nop,
    Finish,
}

impl<'a> Walk<'a> {
    fn run(&mut self) -> Result<(), ManifestError<'a>> {
        let mut position = 0;
        let mut seen_root = false;
        loop {
            let (token, next) = self.token(position).ok_or_else(|| {
                self.bad(
                    position,
                    "end it with FDT_END, and keep names and values within its blocks",
                )
            })?;
            match token {
                Token::Begin(name) => {
                    if self.depth == 0 && seen_root {
                        return Err(self.bad(position, "write one root node"));
                    }
                    seen_root = true;
                    self.begin(name, position, next)?;
                }
                Token::End => {
                    self.depth = self
                        .depth
                        .checked_sub(1)
                        .ok_or_else(|| self.bad(position, "begin a node before it ends"))?;
                }
                Token::Property { name_offset, value } => {
                    self.property(name_offset, value, position)?;
                }
                Token::Nop => {
                    return Err(self.bad(
                        position,
                        "remove its FDT_NOP tokens: compile it again with dtc",
                    ));
                }
                Token::Finish if self.depth == 0 && seen_root => return Ok(()),
                Token::Finish => return Err(self.bad(position, "end every node before FDT_END")),
            }
            position = next;
        }
    }

    /// Enters a node whose properties start at `next`.
    fn begin(
        &mut self,
        name: &'a str,
        position: usize,
        next: usize,
    ) -> Result<(), ManifestError<'a>> {
        let name_is_right = if self.depth == 0 {
            name.is_empty()
        } else {
            is_node_name(name)
        };
        if !name_is_right {
            return Err(self.bad(position, "name nodes NAME or NAME@ADDRESS in letters, digits and ,._+-, and the root with nothing"));
        }
        if let Some(parent) = self.current() {
            let first = parent.children.unwrap_or(position);
            if self.has_child(first, position, name) {
                return Err(self
                    .error(
                        Rule::DuplicateNode,
                        position,
                        "give each child its own name",
                    )
                    .other(name));
            }
            if let Some(parent) = self.current_mut() {
                parent.children = Some(first);
            }
        }
        let Some(slot) = self.open.get_mut(self.depth) else {
            return Err(self.bad(position, "nest nodes no deeper than 32 levels"));
        };
        *slot = Open {
            name,
            properties: next,
            children: None,
        };
        self.depth = self.depth.saturating_add(1);
        Ok(())
    }

    fn property(
        &self,
        name_offset: u32,
        value: &'a [u8],
        position: usize,
    ) -> Result<(), ManifestError<'a>> {
        let Some(node) = self.current() else {
            return Err(self.bad(position, "write properties inside a node"));
        };
        if node.children.is_some() {
            return Err(self.bad(position, "write a node's properties before its children"));
        }
        let name = self
            .string(name_offset)
            .filter(|name| is_property_name(name))
            .ok_or_else(|| {
                self.bad(
                    position,
                    "name properties in letters, digits and ,._+-?#, with a NUL, within the strings block",
                )
            })?;
        if self.has_property(node.properties, position, name) {
            return Err(self
                .error(Rule::DuplicateProperty, position, "write it once")
                .property(name));
        }
        // `fdt` expects these to be one cell, and no address has more than four.
        if matches!(name, "#address-cells" | "#size-cells") {
            let cells: Option<[u8; 4]> = value.try_into().ok();
            if cells.is_none_or(|cells| u32::from_be_bytes(cells) > 4) {
                return Err(self
                    .error(Rule::MalformedInteger, position, "write one cell of 0 to 4")
                    .property(name));
            }
        }
        Ok(())
    }

    fn current(&self) -> Option<Open<'a>> {
        self.open.get(self.depth.checked_sub(1)?).copied()
    }

    fn current_mut(&mut self) -> Option<&mut Open<'a>> {
        self.open.get_mut(self.depth.checked_sub(1)?)
    }

    /// Whether a property `name` stands between two positions.
    fn has_property(&self, mut position: usize, end: usize, name: &str) -> bool {
        while position < end {
            let Some((token, next)) = self.token(position) else {
                return false;
            };
            if let Token::Property { name_offset, .. } = token
                && self.string(name_offset) == Some(name)
            {
                return true;
            }
            position = next;
        }
        false
    }

    /// Whether one of the sibling nodes between two positions is called `name`.
    fn has_child(&self, mut position: usize, end: usize, name: &str) -> bool {
        let mut depth = 0_usize;
        while position < end {
            let Some((token, next)) = self.token(position) else {
                return false;
            };
            match token {
                Token::Begin(sibling) => {
                    if depth == 0 && sibling == name {
                        return true;
                    }
                    depth = depth.saturating_add(1);
                }
                Token::End => depth = depth.saturating_sub(1),
                _ => {}
            }
            position = next;
        }
        false
    }

    /// The token at a position and the position behind it.
    fn token(&self, position: usize) -> Option<(Token<'a>, usize)> {
        let body = position.checked_add(4)?;
        match self.cell(position)? {
            BEGIN_NODE => {
                let name = nul_terminated(self.structure.get(body..)?)?;
                let end = body.checked_add(name.len())?.checked_add(1)?;
                Some((Token::Begin(name), self.aligned(end)?))
            }
            END_NODE => Some((Token::End, body)),
            PROP => {
                let length = narrow(self.cell(body)?);
                let name_offset = self.cell(body.checked_add(4)?)?;
                let start = body.checked_add(8)?;
                let end = start.checked_add(length)?;
                let value = self.structure.get(start..end)?;
                Some((Token::Property { name_offset, value }, self.aligned(end)?))
            }
            NOP => Some((Token::Nop, body)),
            END => Some((Token::Finish, body)),
            _ => None,
        }
    }

    fn cell(&self, position: usize) -> Option<u32> {
        let bytes = self.structure.get(position..position.checked_add(4)?)?;
        Some(u32::from_be_bytes(bytes.try_into().ok()?))
    }

    /// The next multiple of four, if it still lies within the block.
    fn aligned(&self, position: usize) -> Option<usize> {
        position
            .checked_next_multiple_of(4)
            .filter(|&next| next <= self.structure.len())
    }

    fn string(&self, offset: u32) -> Option<&'a str> {
        nul_terminated(self.strings.get(narrow(offset)..)?)
    }

    /// The path of the node that is being read.
    fn path(&self) -> NodePath<'a> {
        let name = |depth: Option<usize>| {
            depth
                .and_then(|depth| self.open.get(depth))
                .map_or("", |node| node.name)
        };
        NodePath {
            parent: name(self.depth.checked_sub(2)),
            name: name(self.depth.checked_sub(1)),
        }
    }

    fn error(&self, rule: Rule, position: usize, fix: &'static str) -> ManifestError<'a> {
        let error = ManifestError::new(self.document, self.path(), rule, fix);
        match rule {
            Rule::BadStructure => error.value(wide(self.base.saturating_add(position))),
            _ => error,
        }
    }

    fn bad(&self, position: usize, fix: &'static str) -> ManifestError<'a> {
        self.error(Rule::BadStructure, position, fix)
    }
}

/// What the Devicetree Specification allows in names of nodes and addresses behind them.
const fn is_node_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b',' | b'.' | b'_' | b'+' | b'-')
}

/// A name, and an address where there is an `@`.
fn is_node_name(name: &str) -> bool {
    let (name, address) = name.split_once('@').unwrap_or((name, "0"));
    [name, address]
        .iter()
        .all(|part| !part.is_empty() && part.bytes().all(is_node_byte))
}

fn is_property_name(name: &str) -> bool {
    let fits = |byte| is_node_byte(byte) || matches!(byte, b'?' | b'#');
    !name.is_empty() && name.bytes().all(fits)
}

/// The UTF-8 string before the first NUL.
fn nul_terminated(bytes: &[u8]) -> Option<&str> {
    let length = bytes.iter().position(|&byte| byte == 0)?;
    core::str::from_utf8(bytes.get(..length)?).ok()
}

/// An offset or length of the format. On a machine whose `usize` has fewer than 32 bits it saturates,
/// and the bounds checks refuse it.
fn narrow(value: u32) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

fn wide(value: usize) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}
