//! Changes recordings as no recorder would, with seals that match.

use alloc::vec::Vec;

use crate::record::pcapng::{Block, Blocks, CUSTOM, PACKET, Packet, SECTION, padding};
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
pub(super) fn reseal(file: Vec<u8>) -> Vec<u8> {
    let sealed = try_reseal(file);
    assert!(seals(&sealed).is_ok());
    sealed
}

/// Makes the seals match, as far as blocks can be read.
pub(super) fn try_reseal(mut file: Vec<u8>) -> Vec<u8> {
    let (Ok(found) | Err(found)) = seals(&file);
    let mut seal = Seal::new(0);
    for place in found {
        match place {
            Place::Section(start) => seal = Seal::new(start),
            Place::Seal(at) => {
                let sum = seal.up_to(&file[..at]).to_le_bytes();
                file[at..at + 4].copy_from_slice(&sum);
            }
        }
    }
    file
}

enum Place {
    Section(usize),
    Seal(usize),
}

/// Finds where sections begin and where seals stand; `Err` if not up to the end.
fn seals(file: &[u8]) -> Result<Vec<Place>, Vec<Place>> {
    let mut found = Vec::new();
    let Ok(mut blocks) = Blocks::new(file) else {
        return Err(found);
    };
    loop {
        match blocks.next() {
            Ok(Some(block)) => found.extend(place_in(&block)),
            Ok(None) => return Ok(found),
            Err(_) => return Err(found),
        }
    }
}

fn place_in(block: &Block<'_>) -> Option<Place> {
    let end = block.at + 8 + block.body.len();
    match block.kind {
        SECTION => Some(Place::Section(block.at)),
        CUSTOM if block.body.len() >= 4 => Some(Place::Seal(end - 4)),
        PACKET => {
            let options = Packet::read(block)?.options;
            // The custom option is the last but the end, of four octets.
            let (_, value) = options.clone().nth(1)?;
            let left = 4 + padding(value.len()) + 4;
            (block.body.len() >= left).then(|| Place::Seal(end - left))
        }
        _ => None,
    }
}
