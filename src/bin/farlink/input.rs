//! What commands read.

use std::io::Read as _;
use std::path::Path;

use crate::Failure;

/// Reads a file, or standard input for `-`.
pub(crate) fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let read = if is_stdin(file) {
        let mut octets = Vec::new();
        std::io::stdin().read_to_end(&mut octets).map(|_| octets)
    } else {
        std::fs::read(file)
    };
    read.map_err(|error| Failure::Usage(format!("{}: {error}", name(file))))
}

/// Names what was read, for messages.
pub(crate) fn name(file: &Path) -> String {
    if is_stdin(file) {
        return "standard input".into();
    }
    file.display().to_string()
}

fn is_stdin(file: &Path) -> bool {
    file.as_os_str() == "-"
}
