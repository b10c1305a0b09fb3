// SPDX-License-Identifier: MIT OR Apache-2.0
//! A value for each of very many pages: a radix tree whose entries stand for 1, 16, 256, … pages.
//!
//! The tree is always as small as it can be: 16 entries with the same value are one entry of the
//! level above. So a range in one state costs next to nothing however large it is, and a tree whose
//! values are what they were has the nodes that it had.

/// How many entries a node has.
const FAN_OUT: usize = 16;
/// Its logarithm.
const FAN_OUT_BITS: u32 = 4;
/// The largest value.
pub(crate) const MAX_VALUE: u64 = u64::MAX >> 1;
/// The end of the list of free nodes.
const NONE: u64 = u64::MAX;

/// A node of the tree, 128 bytes.
#[derive(Clone, Copy, Debug)]
pub struct Node([u64; FAN_OUT]);

impl Node {
    /// What nodes are before a tree takes them.
    pub const UNUSED: Self = Self([0; FAN_OUT]);
}

/// What an entry says of its pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Entry {
    /// All have this value.
    Value(u64),
    /// The node with this index says more.
    Node(u64),
}

/// An entry as a word: bit 0 says that it is a node.
impl From<u64> for Entry {
    fn from(word: u64) -> Self {
        let payload = word.unbounded_shr(1);
        if word & 1 == 0 {
            Self::Value(payload)
        } else {
            Self::Node(payload)
        }
    }
}

impl From<Entry> for u64 {
    fn from(entry: Entry) -> Self {
        match entry {
            Entry::Value(value) => value.unbounded_shl(1),
            Entry::Node(index) => index.unbounded_shl(1) | 1,
        }
    }
}

/// A range of page numbers, end exclusive, not empty.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Pages {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

impl Pages {
    fn contains(&self, other: &Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    fn meets(&self, other: &Self) -> bool {
        self.start < other.end && other.start < self.end
    }

    /// The numbers of the entries of 16 of these pages that `range`, which meets them, meets.
    fn parts(&self, range: &Self) -> core::ops::RangeInclusive<usize> {
        let pages = self.end.saturating_sub(self.start);
        let size = pages.unbounded_shr(FAN_OUT_BITS);
        let number = |page: u64| {
            let number = page.saturating_sub(self.start).checked_div(size);
            usize::try_from(number.unwrap_or(0)).unwrap_or(0)
        };
        let last = range.end.min(self.end).saturating_sub(1);
        number(range.start)..=number(last)
    }

    /// The part that entry `number` of 16 of these pages stands for.
    fn part(&self, number: usize) -> Self {
        let pages = self.end.saturating_sub(self.start);
        let size = pages.unbounded_shr(FAN_OUT_BITS);
        let number = u64::try_from(number).unwrap_or(u64::MAX);
        let start = self.start.saturating_add(size.saturating_mul(number));
        let end = start.saturating_add(size);
        Self { start, end }
    }
}

/// The tree.
#[derive(Debug)]
pub(crate) struct Radix<'b> {
    root: Entry,
    /// What the root stands for: a power of 16.
    all: Pages,
    nodes: &'b mut [Node],
    /// The first free node; entry 0 of each names the next.
    first_free: u64,
    used: usize,
}

impl<'b> Radix<'b> {
    /// A tree for `pages` pages, all of which have `value`. `None` for more than 2^60 pages.
    pub(crate) fn new(pages: u64, value: u64, nodes: &'b mut [Node]) -> Option<Self> {
        let mut end = 1_u64;
        while end < pages {
            end = end.checked_mul(16)?;
        }
        let mut next = NONE;
        for (index, node) in nodes.iter_mut().enumerate().rev() {
            *node = Node([next; FAN_OUT]);
            next = u64::try_from(index).ok()?;
        }
        Some(Self {
            root: Entry::Value(value),
            all: Pages { start: 0, end },
            nodes,
            first_free: next,
            used: 0,
        })
    }

    /// How many nodes are in use.
    pub(crate) const fn used(&self) -> usize {
        self.used
    }

    /// How many nodes are free.
    pub(crate) const fn available(&self) -> usize {
        self.nodes.len().saturating_sub(self.used)
    }

    /// The value of `page`, and the pages around it for which the same entry stands.
    pub(crate) fn entry(&self, page: u64) -> (u64, Pages) {
        let (mut entry, mut pages) = (self.root, self.all);
        loop {
            match entry {
                Entry::Value(value) => return (value, pages),
                Entry::Node(index) => {
                    let size = pages.part(0).end.saturating_sub(pages.start);
                    let within = page.saturating_sub(pages.start);
                    let number = within.checked_div(size).unwrap_or(0);
                    let number = usize::try_from(number).unwrap_or(0);
                    (entry, pages) = (self.read(index, number), pages.part(number));
                }
            }
        }
    }

    /// How many nodes it takes to give `range`, all of which has one value, another value.
    pub(crate) fn cost(&self, range: Pages) -> usize {
        self.cost_below(self.root, self.all, range)
    }

    fn cost_below(&self, entry: Entry, pages: Pages, range: Pages) -> usize {
        if range.contains(&pages) || !range.meets(&pages) {
            return 0;
        }
        let own = usize::from(matches!(entry, Entry::Value(_)));
        pages.parts(&range).fold(own, |cost, number| {
            let below = match entry {
                Entry::Value(_) => entry,
                Entry::Node(index) => self.read(index, number),
            };
            let part = pages.part(number);
            cost.saturating_add(self.cost_below(below, part, range))
        })
    }

    /// Gives `range` the value `value`. There must be [`Radix::cost`] free nodes.
    pub(crate) fn set(&mut self, range: Pages, value: u64) {
        self.root = self.set_below(self.root, self.all, range, value);
    }

    fn set_below(&mut self, entry: Entry, pages: Pages, range: Pages, value: u64) -> Entry {
        if !range.meets(&pages) || entry == Entry::Value(value) {
            return entry;
        }
        let index = match entry {
            _ if range.contains(&pages) => {
                self.free(entry);
                return Entry::Value(value);
            }
            Entry::Node(index) => index,
            Entry::Value(before) => match self.alloc(before) {
                Some(index) => index,
                // Not reached with the nodes that the cost says.
                None => return entry,
            },
        };
        for number in pages.parts(&range) {
            let below = self.read(index, number);
            let part = pages.part(number);
            let below = self.set_below(below, part, range, value);
            self.write(index, number, below);
        }
        self.collapsed(index)
    }

    /// Gives every entry of value `from` that meets `range` the value `to`, whole: also where it
    /// stands for pages outside of the range. This takes no nodes.
    pub(crate) fn rewrite(&mut self, range: Pages, from: u64, to: u64) {
        self.root = self.rewrite_below(self.root, self.all, range, from, to);
    }

    fn rewrite_below(
        &mut self,
        entry: Entry,
        pages: Pages,
        range: Pages,
        from: u64,
        to: u64,
    ) -> Entry {
        match entry {
            _ if !range.meets(&pages) => entry,
            Entry::Value(value) if value == from => Entry::Value(to),
            Entry::Value(_) => entry,
            Entry::Node(index) => {
                for number in pages.parts(&range) {
                    let below = self.read(index, number);
                    let part = pages.part(number);
                    let below = self.rewrite_below(below, part, range, from, to);
                    self.write(index, number, below);
                }
                self.collapsed(index)
            }
        }
    }

    /// The entry for the node `index`: the value that all its entries have, if they do, and the node
    /// is free then.
    fn collapsed(&mut self, index: u64) -> Entry {
        let first = self.read(index, 0);
        let same = (1..FAN_OUT).all(|number| self.read(index, number) == first);
        match first {
            Entry::Value(_) if same => {
                self.put_back(index);
                first
            }
            _ => Entry::Node(index),
        }
    }

    /// Frees the nodes of `entry` and below.
    fn free(&mut self, entry: Entry) {
        if let Entry::Node(index) = entry {
            for number in 0..FAN_OUT {
                self.free(self.read(index, number));
            }
            self.put_back(index);
        }
    }

    fn put_back(&mut self, index: u64) {
        let next = self.first_free;
        if let Some(node) = self.node_mut(index) {
            *node = Node([next; FAN_OUT]);
            self.first_free = index;
            self.used = self.used.saturating_sub(1);
        }
    }

    /// A node whose entries all have `value`.
    fn alloc(&mut self, value: u64) -> Option<u64> {
        let index = self.first_free;
        let node = self.node_mut(index)?;
        let next = node.0.first().copied()?;
        *node = Node([Entry::Value(value).into(); FAN_OUT]);
        self.first_free = next;
        self.used = self.used.saturating_add(1);
        Some(index)
    }

    fn node_mut(&mut self, index: u64) -> Option<&mut Node> {
        self.nodes.get_mut(usize::try_from(index).ok()?)
    }

    fn read(&self, index: u64, number: usize) -> Entry {
        let node = usize::try_from(index)
            .ok()
            .and_then(|index| self.nodes.get(index));
        // Both are in range: indices come from `alloc`.
        let word = node.and_then(|node| node.0.get(number));
        Entry::from(word.copied().unwrap_or(0))
    }

    fn write(&mut self, index: u64, number: usize, entry: Entry) {
        let word = self.node_mut(index).and_then(|node| node.0.get_mut(number));
        if let Some(word) = word {
            *word = entry.into();
        }
    }
}
