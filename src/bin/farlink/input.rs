//! The files that commands read.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::Failure;

/// Reads a file, or standard input for `-`.
pub(crate) fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let read = if is_stdin(file) {
        let mut octets = Vec::new();
        std::io::stdin().read_to_end(&mut octets).map(|_| octets)
    } else {
        std::fs::read(file)
    };
    read.map_err(|error| Failure::Usage(format!("{}: {error}", display_name(file))))
}

/// Opens a file, or standard input for `-`.
pub(crate) fn open(file: &Path) -> Result<Box<dyn std::io::Read>, Failure> {
    if is_stdin(file) {
        return Ok(Box::new(std::io::stdin()));
    }
    let opened = std::fs::File::open(file).map_err(|error| Failure::file(file, error))?;
    Ok(Box::new(opened))
}

/// Octets of the longest key file and contact plan.
const MAX_TEXT: u64 = 16 << 20;

/// Reads a text file, up to a limit: a device has no end.
pub(crate) fn read_text(path: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_TEXT + 1).read_to_string(&mut text))
        .map_err(|error| Failure::file(path, error))?;
    if text.len() as u64 > MAX_TEXT {
        let message = format!("a text file of more than the limit of {MAX_TEXT} octets");
        return Err(Failure::file(path, message));
    }
    Ok(text)
}

/// Hands the words of each line to `add`, without those behind a `#`. An error is named with its line.
pub(crate) fn each_line(
    text: &str,
    mut add: impl FnMut(&[&str]) -> Result<(), String>,
) -> Result<(), String> {
    for (line, number) in text.lines().zip(1_usize..) {
        let line = line.split('#').next().unwrap_or_default();
        let words: Vec<&str> = line.split_whitespace().collect();
        add(&words).map_err(|error| format!("line {number}: {error}"))?;
    }
    Ok(())
}

/// Refuses an output file that is also an input file or another output file.
pub(crate) fn check_files_differ<'a>(
    inputs: impl IntoIterator<Item = &'a PathBuf>,
    outputs: impl IntoIterator<Item = &'a PathBuf>,
) -> Result<(), Failure> {
    let mut taken: Vec<_> = inputs
        .into_iter()
        .filter_map(|it| identity_of(it))
        .collect();
    let input_count = taken.len();
    for out in outputs {
        let Some(identity) = identity_of(out) else {
            continue;
        };
        let found = taken.iter().position(|it| *it == identity);
        let message = match found {
            Some(index) if index < input_count => "is also the input",
            Some(_) => "is also another output",
            None => {
                taken.push(identity);
                continue;
            }
        };
        return Err(Failure::file(out, message));
    }
    Ok(())
}

/// Returns the path by which a file is the same as another. Streams and devices have none: nothing in them is overwritten.
fn identity_of(path: &Path) -> Option<PathBuf> {
    if is_stdin(path) {
        return None;
    }
    if let Ok(whole) = path.canonicalize() {
        return whole.is_file().then_some(whole);
    }
    let folder = path.parent()?;
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    Some(folder.canonicalize().ok()?.join(path.file_name()?))
}

/// Returns the name of an input file, for messages.
pub(crate) fn display_name(file: &Path) -> String {
    if is_stdin(file) {
        return "standard input".into();
    }
    file.display().to_string()
}

pub(crate) fn is_stdin(file: &Path) -> bool {
    file.as_os_str() == "-"
}
