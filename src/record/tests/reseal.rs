//! Changes recordings as no recorder would, with seals that match.

use alloc::vec::Vec;

use crate::record::pcapng::{Blocks, CUSTOM, PACKET, Packet, SECTION, padding};
use crate::record::sink::Seal;

/// Replaces occurrence `which` of `old`, which `new` must equal in length.
pub(super) fn replace(file: &[u8], old: &[u8], new: &[u8], which: usize) -> Vec<u8> {
    assert_eq!(old.len(), new.len());
    let mut places = (0..file.len()).filter(|&at| file[at..].starts_with(old));
    let place = places.nth(which).expect("the old text is in the file");
    let mut changed = file.to_vec();
    changed[place..place + new.len()].copy_from_slice(new);
    changed
}

/// Makes all seals match.
pub(super) fn reseal(mut file: Vec<u8>) -> Vec<u8> {
    let mut seal = Seal::new(0);
    for (start, place) in seals(&file) {
        if let Some(start) = start {
            seal = Seal::new(start);
        }
        if let Some(place) = place {
            let sum = seal.up_to(&file[..place]).to_le_bytes();
            file[place..place + 4].copy_from_slice(&sum);
        }
    }
    file
}

/// Finds where sections begin and where seals stand.
fn seals(file: &[u8]) -> Vec<(Option<usize>, Option<usize>)> {
    let mut found = Vec::new();
    let mut blocks = Blocks::new(file).unwrap();
    while let Some(block) = blocks.next().unwrap() {
        let end = block.at + 8 + block.body.len();
        match block.kind {
            SECTION => found.push((Some(block.at), None)),
            CUSTOM => found.push((None, Some(end - 4))),
            PACKET => {
                let options = Packet::read(&block).unwrap().options;
                // The custom option is the last but the end, of four octets.
                if let Some((_, value)) = options.clone().nth(1) {
                    found.push((None, Some(end - 4 - padding(value.len()) - 4)));
                }
            }
            _ => {}
        }
    }
    found
}
