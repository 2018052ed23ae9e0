//! What commands read.

use std::io::Read as _;
use std::path::Path;

use crate::Failure;

/// Reads a file, or standard input for `-`.
pub(crate) fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    if file.as_os_str() == "-" {
        let mut octets = Vec::new();
        return std::io::stdin()
            .read_to_end(&mut octets)
            .map(|_| octets)
            .map_err(|error| Failure::Usage(format!("standard input: {error}")));
    }
    std::fs::read(file).map_err(|error| Failure::Usage(format!("{}: {error}", file.display())))
}
