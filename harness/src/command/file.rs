//! Files the command reads and writes: never more than a bound, never half a report.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

/// The largest profile; a device may never end.
const MAX_TEXT_BYTES: u64 = 4 << 20;

/// Reads a text file.
pub(super) fn read_text(path: &str) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_TEXT_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_TEXT_BYTES {
        return Err(io::Error::other(format!("it is larger than {MAX_TEXT_BYTES} bytes")));
    }
    Ok(text)
}

/// Whether a file can be written, found out before a long run. Leaves nothing behind.
pub(super) fn writable(path: &Path) -> io::Result<()> {
    match OpenOptions::new().append(true).open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            OpenOptions::new().write(true).create_new(true).open(path)?;
            fs::remove_file(path)
        }
        opened => opened.map(drop),
    }
}

/// Whether a file can be written anew, and nothing is there that would be lost.
pub(super) fn absent(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(_) => Err(io::Error::new(ErrorKind::AlreadyExists, "it is there already, and is not replaced")),
        Err(error) if error.kind() == ErrorKind::NotFound => writable(path),
        Err(error) => Err(error),
    }
}

/// Writes a file as a whole or not at all.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let is_plain = fs::symlink_metadata(path).map_or(true, |meta| meta.is_file());
    if !is_plain {
        // A device, a pipe or a link has no neighbour to be renamed from.
        return OpenOptions::new().write(true).truncate(true).open(path)?.write_all(bytes);
    }
    let mut name = path.file_name().map(ToOwned::to_owned).unwrap_or_default();
    name.push(format!(".{}.part", std::process::id()));
    let part = path.with_file_name(name);
    let written = fs::write(&part, bytes).and_then(|()| fs::rename(&part, path));
    if written.is_err() {
        let _ = fs::remove_file(&part);
    }
    written
}

/// Puts what could not be written where it was asked for into the folder for temporary files.
pub(super) fn keep(bytes: &[u8]) -> io::Result<PathBuf> {
    let mut tries = 0;
    loop {
        let path = std::env::temp_dir().join(format!("gatecrash-report-{}-{tries}.json", std::process::id()));
        // Never over a file, or through a link, that somebody else has put there.
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists && tries < 100 => tries += 1,
            Err(error) => return Err(error),
            Ok(mut file) => return file.write_all(bytes).map(|()| path),
        }
    }
}
