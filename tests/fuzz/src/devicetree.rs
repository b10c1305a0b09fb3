// SPDX-License-Identifier: MIT OR Apache-2.0
//! Device trees as inputs: the shipped manifests, edited, or a structure block made of tokens.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use dtoolkit::fdt::{Fdt, FdtNode};
use dtoolkit::{Node as _, Property as _};

use crate::input::Input;

/// The first byte of every flattened device tree.
const MAGIC: u8 = 0xd0;

/// A node that can be edited into anything.
#[derive(Clone, Default)]
pub struct Node {
    name: String,
    properties: Vec<(String, Vec<u8>)>,
    children: Vec<Node>,
}

/// A manifest of the repository.
pub struct Shipped {
    /// Its path below the root of the repository.
    pub path: PathBuf,
    /// Compiled by dtc.
    pub blob: Vec<u8>,
    tree: Node,
}

/// How many sets of manifests there are that belong together.
pub const SETS: u8 = 5;

/// The directories with manifests, which end with the fixtures of the manifest crate.
const DIRECTORIES: [&str; 7] = [
    "manifests/qemu-virt/demo",
    "manifests/qemu-virt/tests",
    "manifests/qemu-virt/optee",
    "manifests/qemu-virt/cores",
    "manifests/qemu-virt/existing",
    "manifests/fvp-base/demo",
    "src/manifest/tests/fixtures",
];

/// Every shipped manifest.
pub fn shipped() -> &'static [Shipped] {
    static SHIPPED: OnceLock<Vec<Shipped>> = OnceLock::new();
    SHIPPED.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut paths: Vec<PathBuf> = DIRECTORIES
            .iter()
            .flat_map(|directory| {
                let files =
                    std::fs::read_dir(root.join(directory)).expect("a directory of manifests");
                files.map(|entry| Path::new(directory).join(entry.expect("a file").file_name()))
            })
            .filter(|path| path.extension().is_some_and(|extension| extension == "dts"))
            .collect();
        paths.sort();
        let compile = |path: PathBuf| {
            let blob = dtc(&root.join(&path));
            let tree = Node::of(Fdt::new(&blob).expect("a tree of dtc").root());
            Shipped { path, blob, tree }
        };
        paths.into_iter().map(compile).collect()
    })
}

/// The shipped manifest whose path ends with `end`.
pub fn shipped_blob(end: &str) -> &'static [u8] {
    let found = shipped().iter().find(|shipped| shipped.path.ends_with(end));
    &found.expect("a shipped manifest").blob
}

fn dtc(path: &Path) -> Vec<u8> {
    let text = preprocessed(path);
    let mut child = Command::new("dtc")
        .args(["-q", "-q", "-I", "dts", "-O", "dtb", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("dtc, of the package device-tree-compiler");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(text.as_bytes()).expect("dtc reads");
    drop(stdin);
    let output = child.wait_with_output().expect("dtc ends");
    assert!(output.status.success(), "dtc refuses {}", path.display());
    output.stdout
}

/// The source with its `#include` files in place.
fn preprocessed(path: &Path) -> String {
    let text = std::fs::read_to_string(path).expect("a manifest");
    text.lines()
        .map(|line| match line.trim().strip_prefix("#include \"") {
            Some(rest) => preprocessed(&path.with_file_name(rest.trim_end_matches('"'))),
            None => format!("{line}\n"),
        })
        .collect()
}

/// The device tree that an input stands for: one that begins with the magic is a tree already,
/// another edits a shipped manifest (first byte even) or lists tokens (odd).
pub fn from_input(data: &[u8]) -> std::borrow::Cow<'_, [u8]> {
    match data.first() {
        None | Some(&MAGIC) => data.into(),
        Some(kind) if kind % 2 == 0 => edited(&data[1..]).into(),
        Some(_) => tokens(&data[1..]).into(),
    }
}

/// A shipped manifest after the edits that `data` says.
fn edited(data: &[u8]) -> Vec<u8> {
    let mut input = Input::new(data);
    let shipped = shipped();
    let base = &shipped[usize::from(input.byte()) % shipped.len()];
    let mut tree = base.tree.clone();
    for _ in 0..24 {
        if input.is_empty() {
            break;
        }
        tree.edit(&mut input);
    }
    tree.blob()
}

impl Node {
    fn of(node: FdtNode<'_>) -> Self {
        Self {
            name: node.name().to_string(),
            properties: node
                .properties()
                .map(|property| (property.name().to_string(), property.value().to_vec()))
                .collect(),
            children: node.children().map(Self::of).collect(),
        }
    }

    fn count(&self) -> usize {
        1 + self.children.iter().map(Self::count).sum::<usize>()
    }

    /// The node at `position` of a walk in order.
    fn at(&mut self, position: usize) -> &mut Self {
        let mut left = position;
        if left == 0 {
            return self;
        }
        left -= 1;
        for child in &mut self.children {
            let count = child.count();
            if left < count {
                return child.at(left);
            }
            left -= count;
        }
        unreachable!("the position is below the count")
    }

    fn edit(&mut self, input: &mut Input<'_>) {
        let count = self.count();
        let kind = input.byte();
        let node = self.at(usize::from(input.byte()) % count);
        let properties = node.properties.len();
        let property = usize::from(input.byte()).checked_rem(properties);
        match (kind % 10, property) {
            (0..=3, Some(index)) => {
                // One cell becomes another number.
                let value = &mut node.properties[index].1;
                let cells = value.len() / 4;
                let Some(cell) = usize::from(input.byte()).checked_rem(cells) else {
                    return;
                };
                let number = input.number() & u64::from(u32::MAX);
                let number = u32::try_from(number).expect("32 bits");
                value[cell * 4..cell * 4 + 4].copy_from_slice(&number.to_be_bytes());
            }
            (4, Some(index)) => {
                let length = usize::from(input.byte() % 32);
                node.properties[index].1 = input.take(length).to_vec();
            }
            (5, Some(index)) => {
                node.properties.remove(index);
            }
            (6, Some(index)) => {
                // Cells more or fewer.
                let value = &mut node.properties[index].1;
                let length = usize::from(input.byte() % 16) * 4;
                value.resize(length, input.byte());
            }
            (7, _) => {
                let names = property_names();
                let name = names[usize::from(input.half()) % names.len()].clone();
                let cells = usize::from(input.byte() % 5);
                let value = (0..cells)
                    .flat_map(|_| {
                        let [_, _, _, _, low @ ..] = input.number().to_be_bytes();
                        low
                    })
                    .collect();
                node.properties.push((name, value));
            }
            (8, _) => {
                // A child twice, under another name or the same.
                let children = node.children.len();
                let Some(child) = usize::from(input.byte()).checked_rem(children) else {
                    return;
                };
                let mut copy = node.children[child].clone();
                match input.byte() {
                    0 => {}
                    number => copy.name = format!("{}{number:x}", copy.name),
                }
                if self.count() < 200 {
                    let count = self.count();
                    self.at(usize::from(input.byte()) % count)
                        .children
                        .push(copy);
                }
            }
            _ => {
                let children = node.children.len();
                if let Some(child) = usize::from(input.byte()).checked_rem(children) {
                    node.children.remove(child);
                }
            }
        }
    }

    /// The flattened tree.
    fn blob(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.node(self);
        writer.cell(9);
        writer.finish()
    }
}

/// The names of all properties of the shipped manifests.
pub fn property_names() -> &'static [String] {
    static NAMES: OnceLock<Vec<String>> = OnceLock::new();
    fn collect(node: &Node, names: &mut Vec<String>) {
        names.extend(node.properties.iter().map(|(name, _)| name.clone()));
        node.children.iter().for_each(|child| collect(child, names));
    }
    NAMES.get_or_init(|| {
        let mut names = Vec::new();
        shipped()
            .iter()
            .for_each(|shipped| collect(&shipped.tree, &mut names));
        names.sort();
        names.dedup();
        names
    })
}

/// A flattened tree in the making.
#[derive(Default)]
struct Writer {
    structure: Vec<u8>,
    strings: Vec<u8>,
    offsets: HashMap<String, usize>,
}

impl Writer {
    fn cell(&mut self, value: u32) {
        self.structure.extend(value.to_be_bytes());
    }

    fn padded(&mut self, bytes: &[u8]) {
        self.structure.extend(bytes);
        self.structure
            .resize(self.structure.len().next_multiple_of(4), 0);
    }

    fn size(&mut self, value: usize) {
        self.cell(u32::try_from(value).expect("trees are small"));
    }

    fn node(&mut self, node: &Node) {
        self.cell(1);
        self.padded(format!("{}\0", node.name).as_bytes());
        for (name, value) in &node.properties {
            let offset = *self.offsets.entry(name.clone()).or_insert_with(|| {
                let offset = self.strings.len();
                self.strings.extend(name.bytes());
                self.strings.push(0);
                offset
            });
            self.cell(3);
            self.size(value.len());
            self.size(offset);
            self.padded(value);
        }
        for child in &node.children {
            self.node(child);
        }
        self.cell(2);
    }

    /// Header, an empty reservation map, structure, strings.
    fn finish(self) -> Vec<u8> {
        let structure_at = 56;
        let strings_at = structure_at + self.structure.len();
        let header = [
            0xd00d_feed,
            strings_at + self.strings.len(),
            structure_at,
            strings_at,
            40,
            17,
            16,
            0,
            self.strings.len(),
            self.structure.len(),
        ];
        let mut bytes: Vec<u8> = header
            .iter()
            .flat_map(|&cell| u32::try_from(cell).expect("trees are small").to_be_bytes())
            .collect();
        bytes.extend([0; 16]);
        bytes.extend(self.structure);
        bytes.extend(self.strings);
        bytes
    }
}

/// A tree of the tokens that `data` lists, right or wrong.
fn tokens(data: &[u8]) -> Vec<u8> {
    const STRINGS: &[u8] = b"a\0bc\0#address-cells\0#size-cells\0compatible\0reg\0status\0d";
    let mut input = Input::new(data);
    let mut writer = Writer {
        strings: STRINGS.to_vec(),
        ..Writer::default()
    };
    let mut depth = 1_u32;
    writer.cell(1);
    writer.cell(0);
    while !input.is_empty() {
        match input.byte() % 16 {
            0..=3 => {
                writer.cell(1);
                let length = usize::from(input.byte() % 6);
                let mut name: Vec<u8> = input
                    .take(length)
                    .iter()
                    .map(|byte| byte % 26 + b'a')
                    .collect();
                name.push(0);
                writer.padded(&name);
                depth += 1;
            }
            4..=7 => {
                let length = usize::from(input.byte() % 20);
                let offset = usize::from(input.byte()) % STRINGS.len();
                writer.cell(3);
                writer.size(length);
                writer.size(offset);
                let mut value = input.take(length).to_vec();
                value.resize(length, 0);
                writer.padded(&value);
            }
            8..=12 => {
                writer.cell(2);
                depth = depth.saturating_sub(1);
            }
            13 => {
                writer.cell(4);
            }
            14 => {
                writer.cell(input.word());
            }
            _ => {
                writer.cell(3);
                writer.cell(input.word());
                writer.cell(u32::from(input.byte()));
            }
        }
    }
    for _ in 0..depth {
        writer.cell(2);
    }
    writer.cell(9);
    writer.finish()
}
