// SPDX-License-Identifier: MIT OR Apache-2.0
//! The services of a partition: UUIDs and how each is reached (B-03, B-04).

use bulkhead_abi::{Uuid, Version};

use crate::claims::first_clash;
use crate::dt::{CellList, Field, Node};
use crate::error::{ManifestError, Rule};
use crate::policy::MessagingMethod;

const UUID: Field = Field::new(
    "uuid",
    "write uuid = <W0 W1 W2 W3>; with four cells for each UUID, none of them nil or twice",
);
const UUID_TEXT: Field = Field::new(
    "uuid",
    "write uuid = \"XXXXXXXX-XXXX-XXXX-XXXX-XXXXXXXXXXXX\"; not nil and once in the partition",
);
const MESSAGING: Field = Field::new(
    "messaging-method",
    "write messaging-method = <BITS>; of bits 0, 1, 2, 9 and 10, the last two from ffa-version 1.2",
);
const MESSAGING_COUNT: Field = Field::new(
    "messaging-method",
    "write one messaging-method for all UUIDs, or one for each",
);

/// The node that binding 1.1 has instead of `uuid` and `messaging-method` in the root.
pub(crate) const SERVICES: &str = "services";

/// A service of a partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Service {
    /// Its UUID, not nil and once in the partition.
    pub uuid: Uuid,
    /// How it is reached.
    pub messaging: MessagingMethod,
}

/// The binding's revision, from `compatible`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Binding {
    /// arm,ffa-manifest-1.0.
    V1_0,
    /// arm,ffa-manifest-1.1: services in nodes of their own.
    V1_1,
}

/// Checks all services and returns what the partition as a whole does.
pub(crate) fn check<'a>(
    root: Node<'_, 'a>,
    binding: Binding,
    version: Version,
) -> Result<MessagingMethod, ManifestError<'a>> {
    let field = match binding {
        Binding::V1_0 => UUID,
        Binding::V1_1 => UUID_TEXT,
    };
    let mut union = MessagingMethod::default();
    for entry in entries(root, binding)? {
        let (node, service) = entry?;
        if service.uuid.is_nil() {
            return Err(node.field_error(field, Rule::NilUuid));
        }
        if service.messaging.needs_v1_2() && version < Version::V1_2 {
            return Err(node
                .field_error(MESSAGING, Rule::MessagingContradiction)
                .value(u64::from(service.messaging.bits())));
        }
        union = union.union(service.messaging);
    }
    let uuids = || services_in(root, binding).enumerate();
    let clash = first_clash(
        uuids(),
        |each| uuids().for_each(each),
        |(index, (_, ours)), (earlier, (_, theirs))| earlier < index && ours.uuid == theirs.uuid,
    );
    match clash {
        Some(((_, (node, _)), _)) => Err(node.field_error(field, Rule::DuplicateUuid)),
        None => Ok(union),
    }
}

/// The services of a manifest that [`check`] accepted.
pub(crate) fn services<'t, 'a>(
    root: Node<'t, 'a>,
    binding: Binding,
) -> impl Iterator<Item = Service> + use<'t, 'a> {
    services_in(root, binding).map(|(_, service)| service)
}

/// The services that are right, each with the node that it stands in.
fn services_in<'t, 'a>(
    root: Node<'t, 'a>,
    binding: Binding,
) -> impl Iterator<Item = (Node<'t, 'a>, Service)> + use<'t, 'a> {
    entries(root, binding)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok())
}

type Entry<'t, 'a> = Result<(Node<'t, 'a>, Service), ManifestError<'a>>;

/// The services in their order, each with the node that it stands in.
fn entries<'t, 'a>(
    root: Node<'t, 'a>,
    binding: Binding,
) -> Result<impl Iterator<Item = Entry<'t, 'a>> + use<'t, 'a>, ManifestError<'a>> {
    // One of the two is empty.
    let (cells, nodes) = match binding {
        Binding::V1_0 => (Some(flat(root)?), None),
        Binding::V1_1 => (None, Some(service_nodes(root)?)),
    };
    Ok(cells
        .into_iter()
        .flatten()
        .chain(nodes.into_iter().flat_map(Node::children).map(in_node)))
}

/// Binding 1.0: tuples of four cells, packed as SMCCC packs a UUID into registers.
fn flat<'t, 'a>(
    root: Node<'t, 'a>,
) -> Result<impl Iterator<Item = Entry<'t, 'a>> + use<'t, 'a>, ManifestError<'a>> {
    let uuids = match root.cell_list(UUID, 4) {
        Ok(Some(list)) if list.count() != 0 => list,
        Ok(None) => return Err(root.missing(UUID)),
        Ok(Some(_)) | Err(_) => return Err(root.field_error(UUID, Rule::MalformedUuid)),
    };
    let messaging: CellList<'a> = root
        .cell_list(MESSAGING, 1)?
        .ok_or_else(|| root.missing(MESSAGING))?;
    let first = messaging.cells().next();
    let shared = match (messaging.count(), uuids.count() / 4) {
        (1, _) => true,
        (methods, count) if methods == count => false,
        (methods, _) => {
            return Err(root
                .field_error(MESSAGING_COUNT, Rule::MalformedInteger)
                .value(u64::try_from(methods).unwrap_or(u64::MAX)));
        }
    };
    let mut methods = messaging.cells();
    Ok(uuids.tuples::<4>().map(move |cells| {
        let bits = if shared { first } else { methods.next() };
        let bits = bits.ok_or_else(|| root.missing(MESSAGING))?;
        Ok((
            root,
            Service {
                uuid: Uuid::from_manifest_cells(cells),
                messaging: messaging_method(root, bits)?,
            },
        ))
    }))
}

/// Binding 1.1: a node for each service.
fn service_nodes<'t, 'a>(root: Node<'t, 'a>) -> Result<Node<'t, 'a>, ManifestError<'a>> {
    const FIX: &str = "write services { compatible = \"arm,ffa-manifest-services\"; \
                       service0 { uuid = \"...\"; messaging-method = <BITS>; }; };";
    let missing = || root.error(Rule::MissingNode, FIX).other(SERVICES);
    let node = root.child(SERVICES).ok_or_else(missing)?;
    node.require_compatible("arm,ffa-manifest-services", FIX)?;
    node.children().next().ok_or_else(missing)?;
    Ok(node)
}

fn in_node<'t, 'a>(node: Node<'t, 'a>) -> Entry<'t, 'a> {
    let text = node
        .string(UUID_TEXT)?
        .ok_or_else(|| node.missing(UUID_TEXT))?;
    let uuid = Uuid::parse(text)
        .ok_or_else(|| node.field_error(UUID_TEXT, Rule::MalformedUuid).other(text))?;
    let messaging = messaging_method(node, node.require_u32(MESSAGING)?)?;
    Ok((node, Service { uuid, messaging }))
}

fn messaging_method<'a>(
    node: Node<'_, 'a>,
    bits: u32,
) -> Result<MessagingMethod, ManifestError<'a>> {
    MessagingMethod::from_bits(bits).ok_or_else(|| {
        node.field_error(MESSAGING, Rule::UnknownValue)
            .value(u64::from(bits))
    })
}
