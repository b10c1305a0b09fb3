// SPDX-License-Identifier: MIT OR Apache-2.0
//! The device tree validator: what it accepts can be walked completely, and reads as dtoolkit
//! reads it (P1 to P5).

use bulkhead_manifest::Document;
use bulkhead_manifest::dt::{Node, Tree};
use dtoolkit::fdt::{Fdt, FdtNode};
use dtoolkit::{Node as _, Property as _};

use crate::devicetree;

/// A node's name, a property's name and value, or the end of a node.
#[derive(PartialEq, Debug)]
enum Seen<'a> {
    Node(&'a str),
    Property(&'a str, &'a [u8]),
    End,
}

/// Runs the target.
pub fn run(data: &[u8]) {
    let bytes = devicetree::from_input(data);
    let ours = match Tree::parse(&bytes, Document::Spmc) {
        Ok(tree) => {
            let mut seen = Vec::new();
            visit(tree.root().expect("an accepted tree has a root"), &mut seen);
            seen
        }
        Err(error) => {
            assert!(error.to_string().contains(": "));
            return;
        }
    };
    // dtoolkit is stricter in places, and never more lenient on what both accept.
    if let Ok(fdt) = Fdt::new(&bytes) {
        let mut ours = ours.iter();
        compare(fdt.root(), &mut ours);
        assert_eq!(ours.next(), None);
    }
}

fn visit<'a>(node: Node<'_, 'a>, seen: &mut Vec<Seen<'a>>) {
    seen.push(Seen::Node(node.name()));
    let _ = (node.cells(), node.is_enabled(), node.is_compatible("x"));
    for (name, value) in node.properties() {
        assert_eq!(node.property(name), Some(value));
        seen.push(Seen::Property(name, value));
    }
    for child in node.children() {
        let found = node.child(child.name()).map(|found| found.name());
        assert_eq!(found, Some(child.name()));
        visit(child, seen);
    }
    seen.push(Seen::End);
}

/// Fails unless `ours` goes on as dtoolkit reads `theirs`.
fn compare<'s>(theirs: FdtNode<'_>, ours: &mut impl Iterator<Item = &'s Seen<'s>>) {
    assert_eq!(ours.next(), Some(&Seen::Node(theirs.name())));
    for property in theirs.properties() {
        let wanted = Seen::Property(property.name(), property.value());
        assert_eq!(ours.next(), Some(&wanted));
    }
    for child in theirs.children() {
        compare(child, ours);
    }
    assert_eq!(ours.next(), Some(&Seen::End));
}
