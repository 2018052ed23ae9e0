//! Changes recordings, and then their checksums so that they match.

use alloc::vec::Vec;

use crate::record::pcapng::{Block, Blocks, LOCAL, PACKET, Packet, SECTION, padding};
use crate::record::sink::Checksum;

/// Replaces occurrence `which` of `old`, which `new` must equal in length.
pub(super) fn replace(file: &[u8], old: &[u8], new: &[u8], which: usize) -> Vec<u8> {
    assert_eq!(old.len(), new.len());
    let mut found = (0..file.len()).filter(|&at| file[at..].starts_with(old));
    let at = found.nth(which).expect("the old text is in the file");
    let mut changed = file.to_vec();
    changed[at..at + new.len()].copy_from_slice(new);
    changed
}

/// Makes all checksums match.
pub(super) fn fix_checksums(file: Vec<u8>) -> Vec<u8> {
    let checked = try_fix_checksums(file);
    assert!(checksums(&checked).is_ok());
    checked
}

/// Makes the checksums match, as far as blocks can be read.
pub(super) fn try_fix_checksums(mut file: Vec<u8>) -> Vec<u8> {
    let (Ok(found) | Err(found)) = checksums(&file);
    let mut checksum = Checksum::new(0);
    for mark in found {
        match mark {
            Mark::Section(start) => checksum = Checksum::new(start),
            Mark::Checksum(at) => {
                let sum = checksum.up_to(&file[..at]).to_le_bytes();
                file[at..at + 4].copy_from_slice(&sum);
            }
        }
    }
    file
}

/// The offset of a section or a checksum.
enum Mark {
    Section(usize),
    Checksum(usize),
}

/// Returns the offsets of sections and checksums; `Err` if the file is malformed after them.
fn checksums(file: &[u8]) -> Result<Vec<Mark>, Vec<Mark>> {
    let mut found = Vec::new();
    let Ok(mut blocks) = Blocks::new(file) else {
        return Err(found);
    };
    loop {
        match blocks.next() {
            Ok(Some(block)) => found.extend(mark_in(&block)),
            Ok(None) => return Ok(found),
            Err(_) => return Err(found),
        }
    }
}

fn mark_in(block: &Block<'_>) -> Option<Mark> {
    let end = block.at + 8 + block.body.len();
    match block.kind {
        SECTION => Some(Mark::Section(block.at)),
        LOCAL if block.body.len() >= 4 => Some(Mark::Checksum(end - 4)),
        PACKET => {
            let options = Packet::read(block)?.options;
            // The local option is the last but the end, of four octets.
            let (_, value) = options.clone().nth(1)?;
            let left = 4 + padding(value.len()) + 4;
            (block.body.len() >= left).then(|| Mark::Checksum(end - left))
        }
        _ => None,
    }
}
