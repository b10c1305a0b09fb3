// SPDX-License-Identifier: MIT OR Apache-2.0
//! Files: device tree source, blobs, packages, told apart by their contents.

use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bulkhead_manifest::dt::{Node, Tree};
use bulkhead_manifest::spmc::COMPATIBLE;
use bulkhead_manifest::{Document, Package, PackageError, SpManifest, SpmcManifest};

/// How deep `#include` nests.
const MAX_INCLUDES: usize = 16;
const TREE_MAGIC: [u8; 4] = 0xd00d_feed_u32.to_be_bytes();

/// Why there is nothing to check.
pub enum Failure {
    /// The file breaks a rule.
    Wrong(String),
    /// The file cannot be read, or dtc is missing.
    Unusable(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Wrong(text) | Self::Unusable(text)) = self;
        f.write_str(text)
    }
}

/// A file and what it says. The bytes live as long as the command runs.
pub struct Source {
    /// The path as it was given.
    pub name: &'static str,
    pub contents: Contents,
}

/// What a file says.
pub enum Contents {
    Spmc(SpmcManifest<'static>),
    Partition(SpManifest<'static>),
    Package {
        bytes: &'static [u8],
        package: Package,
        manifest: SpManifest<'static>,
    },
    /// BL2's list of packages (`tb_fw_config`).
    LoadList(Tree<'static>),
}

impl Contents {
    pub const fn describe(&self) -> &'static str {
        match self {
            Self::Spmc(_) => "SPMC manifest",
            Self::Partition(_) => "partition manifest",
            Self::Package { .. } => "package",
            Self::LoadList(_) => "list of packages",
        }
    }

    /// The partition manifest, if there is one.
    pub const fn manifest(&self) -> Option<&SpManifest<'static>> {
        match self {
            Self::Partition(manifest) | Self::Package { manifest, .. } => Some(manifest),
            _ => None,
        }
    }
}

/// Reads a file.
pub fn read(name: &str) -> Result<Source, Failure> {
    let bytes =
        std::fs::read(name).map_err(|error| Failure::Unusable(format!("{name}: {error}")))?;
    let name: &'static str = Box::leak(name.to_owned().into_boxed_str());
    let source = |contents| Source { name, contents };
    if bytes.starts_with(&TREE_MAGIC) {
        return read_tree(name, bytes.leak()).map(source);
    }
    if let Ok(text) = std::str::from_utf8(&bytes)
        && text.contains("/dts-v1/")
    {
        let text = expand(Path::new(name), text, 0)?;
        return read_tree(name, compile(name, &text)?.leak()).map(source);
    }
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    match Package::parse(&bytes, length) {
        Ok(package) => read_package(name, package, bytes.leak()).map(source),
        Err(PackageError::BadMagic(_)) => Err(Failure::Wrong(format!(
            "{name}: neither a device tree (source or blob) nor a package (SPKG or transfer list)"
        ))),
        Err(error) => Err(Failure::Wrong(format!("{name}: {error}"))),
    }
}

fn read_package(
    name: &'static str,
    package: Package,
    bytes: &'static [u8],
) -> Result<Contents, Failure> {
    let start = usize::try_from(package.manifest.base).unwrap_or(usize::MAX);
    let end = usize::try_from(package.manifest.end()).unwrap_or(usize::MAX);
    let manifest = SpManifest::parse(bytes.get(start..end).unwrap_or_default())
        .map_err(|error| Failure::Wrong(error.in_file(Document::Partition, name).to_string()))?;
    Ok(Contents::Package {
        bytes,
        package,
        manifest,
    })
}

/// Tells a tree by its root.
fn read_tree(name: &'static str, bytes: &'static [u8]) -> Result<Contents, Failure> {
    let named = |error: bulkhead_manifest::ManifestError<'_>| {
        let error = error.in_file(Document::Spmc, name);
        Failure::Wrong(error.in_file(Document::Partition, name).to_string())
    };
    let tree = Tree::parse(bytes, Document::Partition).map_err(named)?;
    let is_spmc = tree
        .root()
        .is_some_and(|root| root.is_compatible(COMPATIBLE))
        || tree.child("attribute").is_some()
        || tree.child("hypervisor").is_some();
    if is_spmc {
        SpmcManifest::parse(bytes)
            .map_err(named)
            .map(Contents::Spmc)
    } else if load_list(&tree).is_some() {
        Ok(Contents::LoadList(tree))
    } else {
        SpManifest::parse(bytes)
            .map_err(named)
            .map(Contents::Partition)
    }
}

/// The node that lists packages for BL2.
pub fn load_list<'t, 'a>(tree: &'t Tree<'a>) -> Option<Node<'t, 'a>> {
    tree.top_level().find(|node| node.is_compatible("arm,sp"))
}

/// Expands `#include "FILE"`, and no other directive of the C preprocessor.
fn expand(path: &Path, text: &str, depth: usize) -> Result<String, Failure> {
    let wrong = |line: usize, what: &str| {
        let line = line.saturating_add(1);
        Err(Failure::Wrong(format!("{}:{line}: {what}", path.display())))
    };
    if depth > MAX_INCLUDES {
        return wrong(0, "#include nests too deep");
    }
    let mut all = format!("# 1 \"{}\"\n", path.display());
    for (index, line) in text.lines().enumerate() {
        let directive = line.trim_start().strip_prefix('#').map(str::trim_start);
        let word = directive.map(|rest| {
            let end = rest.find(|character: char| !character.is_ascii_lowercase());
            rest.split_at(end.unwrap_or(rest.len()))
        });
        match word {
            Some(("include", rest)) => {
                let file = rest
                    .trim()
                    .strip_prefix('"')
                    .and_then(|rest| rest.strip_suffix('"'));
                let Some(file) = file else {
                    return wrong(
                        index,
                        "only #include \"FILE\" is expanded: run the C preprocessor first",
                    );
                };
                let file: PathBuf = path.parent().unwrap_or(Path::new("")).join(file);
                let included = std::fs::read_to_string(&file);
                let included = match included {
                    Ok(included) => included,
                    Err(error) => return wrong(index, &format!("{}: {error}", file.display())),
                };
                let next = depth.saturating_add(1);
                all.push_str(&expand(&file, &included, next)?);
                all.push_str(&format!(
                    "# {} \"{}\"\n",
                    index.saturating_add(2),
                    path.display()
                ));
            }
            Some((
                "define" | "undef" | "if" | "ifdef" | "ifndef" | "else" | "elif" | "endif",
                _,
            )) => {
                return wrong(
                    index,
                    "only #include is expanded: run the C preprocessor first",
                );
            }
            _ => {
                all.push_str(line);
                all.push('\n');
            }
        }
    }
    Ok(all)
}

/// Compiles device tree source with dtc.
fn compile(name: &str, text: &str) -> Result<Vec<u8>, Failure> {
    let directory = match Path::new(name).parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let child = Command::new("dtc")
        .args(["-q", "-I", "dts", "-O", "dtb", "-i"])
        .arg(directory)
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let failed = |error: std::io::Error| {
        Failure::Unusable(format!(
            "{name}: dtc, which compiles device tree source, does not run ({error}): install the package \
             device-tree-compiler, or give a blob"
        ))
    };
    let mut child = child.map_err(failed)?;
    if let Some(mut input) = child.stdin.take() {
        // dtc says itself what is wrong if it does not read to the end.
        let _ = input.write_all(text.as_bytes());
    }
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    let first = complaint.lines().next().unwrap_or("no message");
    Err(Failure::Wrong(format!("{name}: dtc refuses it: {first}")))
}
