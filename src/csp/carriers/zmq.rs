//! Messages on a hub of ZMQ.

use crate::csp::wire::{Priority, Version};

/// The order of the octets of a header of version 1.
///
/// Stacks of 1.x on little-endian machines sent it as their memory has it. Builds of 2.x have an option for it, on by
/// default with one of the two build systems of libcsp and off with the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[expect(clippy::exhaustive_enums, reason = "there are two")]
pub enum ByteOrder {
    /// The highest octet first, as in all other carriers.
    #[default]
    BigEndian,
    /// The lowest octet first.
    LittleEndian,
}

/// Returns the first octets of the messages that a node of some addresses takes from a hub: in version 2 one prefix
/// for each priority and address. In version 1 it takes all messages, whose prefix is empty.
///
/// ```
/// use farlink::csp::Version;
/// use farlink::csp::carriers::subscriptions;
///
/// let of_node_5: Vec<Vec<u8>> = subscriptions(Version::V2, &[5]).collect();
/// assert_eq!(of_node_5, [[0, 5], [0x40, 5], [0x80, 5], [0xC0, 5]]);
/// assert_eq!(subscriptions(Version::V1, &[5]).collect::<Vec<_>>(), [b""]);
/// ```
pub fn subscriptions(
    version: Version,
    addresses: &[u16],
) -> impl Iterator<Item = alloc::vec::Vec<u8>> {
    let all = match version {
        Version::V1 => Some(alloc::vec::Vec::new()),
        Version::V2 => None,
    };
    let addresses = addresses.iter().filter(move |_| version == Version::V2);
    let prefixes = addresses.flat_map(|address| {
        PRIORITIES.map(|priority| {
            let prefix = (priority as u16) << 14 | address & Version::V2.broadcast();
            prefix.to_be_bytes().to_vec()
        })
    });
    all.into_iter().chain(prefixes)
}

const PRIORITIES: [Priority; 4] = [
    Priority::Critical,
    Priority::High,
    Priority::Normal,
    Priority::Low,
];
