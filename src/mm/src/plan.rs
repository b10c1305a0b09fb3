// SPDX-License-Identifier: MIT OR Apache-2.0
//! The first half of an edit: everything is checked, and the tables that it takes are counted,
//! before anything is written.

use core::fmt;

use crate::addr::Pa;
use crate::pool::NoPages;
use crate::table::{CONTIGUOUS, Descriptor, INVALID, Level, Part, Span, TableMemory};
use crate::tree::{Request, Reshape, Shape};

/// Why a mapping was not changed. The tables and the pool are as they were.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MapError {
    /// An address or the length is not a multiple of the page size.
    Unaligned,
    /// The range is empty, or an address lies beyond what the tables can map.
    OutOfRange,
    /// The stage refuses or cannot express the attributes.
    Attributes,
    /// A page of the range is already mapped.
    Overlap,
    /// A page of the range is not mapped.
    NotMapped,
    /// The account has too few pages left.
    NoMemory,
    /// A block or contiguous run would have to be split where [`Reshape::Never`] holds.
    Split,
}

impl From<NoPages> for MapError {
    fn from(_: NoPages) -> Self {
        Self::NoMemory
    }
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unaligned => "not a multiple of the page size",
            Self::OutOfRange => "empty or out of range",
            Self::Attributes => "attributes refused",
            Self::Overlap => "already mapped",
            Self::NotMapped => "not mapped",
            Self::NoMemory => "no page left for a table",
            Self::Split => "part of a block in use",
        })
    }
}

impl core::error::Error for MapError {}

impl Shape {
    /// How many tables it takes to map `request`.
    pub(crate) fn tables_to_map(
        &self,
        request: &Request,
        mem: &(impl TableMemory + ?Sized),
    ) -> Result<usize, MapError> {
        self.map_below(
            Some(self.root),
            self.geometry.start(),
            request.span,
            request,
            mem,
        )
    }

    /// How many tables it takes to map `span` of `request` in `table`; `None` is a new one.
    fn map_below<M: TableMemory + ?Sized>(
        &self,
        table: Option<Pa>,
        level: Level,
        span: Span,
        request: &Request,
        mem: &M,
    ) -> Result<usize, MapError> {
        let Some(next_level) = level.next() else {
            return self.pages_free(table, span, mem);
        };
        let mut needed = 0_usize;
        for part in span.parts(level) {
            let bits = match table {
                Some(table) => self.read(mem, table, level, part.entry.start),
                None => INVALID,
            };
            let below = match self.decode(bits, level) {
                // Suspended: its place is taken.
                Descriptor::Invalid if bits != INVALID => return Err(MapError::Overlap),
                Descriptor::Block(_) | Descriptor::Page(_) => return Err(MapError::Overlap),
                Descriptor::Table(next) => {
                    self.map_below(Some(next), next_level, part.span, request, mem)?
                }
                Descriptor::Invalid
                    if request.leaf(&self.geometry, level, &part.entry).is_some() =>
                {
                    0
                }
                Descriptor::Invalid => self
                    .map_below(None, next_level, part.span, request, mem)?
                    .saturating_add(1),
            };
            needed = needed.saturating_add(below);
        }
        Ok(needed)
    }

    /// Zero, the number of tables that pages take, if none of them is mapped yet.
    fn pages_free(
        &self,
        table: Option<Pa>,
        span: Span,
        mem: &(impl TableMemory + ?Sized),
    ) -> Result<usize, MapError> {
        let Some(table) = table else {
            return Ok(0);
        };
        for part in span.parts(Level::Three) {
            let bits = self.read(mem, table, Level::Three, part.entry.start);
            if bits != INVALID {
                return Err(MapError::Overlap);
            }
        }
        Ok(0)
    }

    /// How many tables it takes to unmap `span`: those that take the place of split blocks.
    pub(crate) fn tables_to_unmap(
        &self,
        span: Span,
        mem: &(impl TableMemory + ?Sized),
    ) -> Result<usize, MapError> {
        self.unmap_below(self.root, self.geometry.start(), span, mem)
    }

    fn unmap_below<M: TableMemory + ?Sized>(
        &self,
        table: Pa,
        level: Level,
        span: Span,
        mem: &M,
    ) -> Result<usize, MapError> {
        let mut needed = 0_usize;
        for part in span.parts(level) {
            let bits = self.read(mem, table, level, part.entry.start);
            let below = match (self.decode(bits, level), level.next()) {
                (Descriptor::Table(next), Some(level)) => {
                    self.unmap_below(next, level, part.span, mem)?
                }
                (Descriptor::Block(_) | Descriptor::Page(_), next) => {
                    let partial = !part.is_whole() || cuts_run(bits, level, &part, &span);
                    if partial && self.reshape == Reshape::Never {
                        return Err(MapError::Split);
                    }
                    match next {
                        Some(_) if !part.is_whole() => tables_to_split(level, part.span),
                        _ => 0,
                    }
                }
                _ => return Err(MapError::NotMapped),
            };
            needed = needed.saturating_add(below);
        }
        Ok(needed)
    }
}

/// Whether the descriptor `bits` is one of a contiguous run of which `span` is only a part.
pub(crate) fn cuts_run(bits: u64, level: Level, part: &Part, span: &Span) -> bool {
    bits & CONTIGUOUS != 0
        && Span::run(level, part.entry.start).is_some_and(|run| !span.contains(&run))
}

/// How many tables take the place of a block of `level` of which `hole`, but not all, is unmapped.
fn tables_to_split(level: Level, hole: Span) -> usize {
    let Some(level) = level.next() else {
        return 0;
    };
    hole.parts(level)
        .filter(|part| !part.is_whole())
        .fold(1, |tables, part| {
            tables_to_split(level, part.span).saturating_add(tables)
        })
}
