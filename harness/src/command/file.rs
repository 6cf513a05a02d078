//! Files the command reads and writes: never more than a bound, never half a report.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use crate::document::printable;
use crate::report::earlier::Earlier;

/// The largest profile; a device may never end.
const MAX_TEXT_BYTES: u64 = 4 << 20;

/// The largest result that is read again.
const MAX_RESULT_BYTES: u64 = 256 << 20;

/// U+FEFF in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads a text file.
pub(super) fn read_text(path: &str) -> io::Result<String> {
    read_up_to(Path::new(path), MAX_TEXT_BYTES)
}

/// Reads a file that should be text, whatever it is.
pub(super) fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    read_bounded(File::open(path)?, MAX_TEXT_BYTES)
}

/// Reads what stdin holds.
pub(super) fn read_stdin() -> io::Result<Vec<u8>> {
    read_bounded(io::stdin().lock(), MAX_TEXT_BYTES)
}

/// Reads a result that was written earlier.
pub(super) fn read_result(path: &Path) -> Result<Earlier, String> {
    let text = read_up_to(path, MAX_RESULT_BYTES).map_err(|error| error.to_string());
    let read = text.and_then(|text| Earlier::read(&text));
    read.map_err(|why| format!("cannot read the result `{}`: {why}", printable(&path.to_string_lossy())))
}

fn read_up_to(path: &Path, limit: u64) -> io::Result<String> {
    String::from_utf8(read_bounded(File::open(path)?, limit)?)
        .map_err(|_| io::Error::new(ErrorKind::InvalidData, "stream did not contain valid UTF-8"))
}

fn read_bounded(source: impl io::Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::other(format!("it is larger than {limit} bytes")));
    }
    // Editors on Windows put it before a text, of which it is no part: nobody counts it as a column.
    if bytes.starts_with(BYTE_ORDER_MARK) {
        bytes.drain(..BYTE_ORDER_MARK.len());
    }
    Ok(bytes)
}

/// Whether a file can be written, found out before a long run. Leaves nothing behind.
pub(super) fn writable(path: &Path) -> io::Result<()> {
    // To open a pipe waits for its reader, who takes it for the end when it is closed again.
    if fs::metadata(path).is_ok_and(|meta| !meta.is_file() && !meta.is_dir()) {
        return Ok(());
    }
    match OpenOptions::new().append(true).open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            OpenOptions::new().write(true).create_new(true).open(path)?;
            fs::remove_file(path)
        }
        opened => opened.map(drop),
    }
}

/// What a file is called, however its path is spelled, and whether or not it is there yet.
pub(super) fn place(path: &Path) -> PathBuf {
    let whole = match fs::metadata(path) {
        // Nothing of what is written to a device or a pipe is replaced by what comes after.
        Ok(meta) if !meta.is_file() => Ok(path.to_owned()),
        _ => fs::canonicalize(path),
    };
    whole.unwrap_or_else(|_| {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        match (fs::canonicalize(folder), path.file_name()) {
            (Ok(folder), Some(name)) => folder.join(name),
            _ => path.to_owned(),
        }
    })
}

/// Whether a file can be written anew, and nothing is there that would be lost.
pub(super) fn absent(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(_) => Err(io::Error::new(ErrorKind::AlreadyExists, "it is there already, and is not replaced")),
        Err(error) if error.kind() == ErrorKind::NotFound => writable(path),
        Err(error) => Err(error),
    }
}

/// Writes a file as a whole or not at all. Who may read one that was there before may read the new one, and nobody else.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let before = fs::symlink_metadata(path).ok();
    if before.as_ref().is_some_and(|meta| !meta.is_file()) {
        // A device, a pipe or a link has no neighbour to be renamed from.
        return OpenOptions::new().write(true).truncate(true).open(path)?.write_all(bytes);
    }
    let mut name = path.file_name().map(ToOwned::to_owned).unwrap_or_default();
    name.push(format!(".{}.part", std::process::id()));
    let part = path.with_file_name(name);
    let fill = || {
        let mut file = File::create(&part)?;
        if let Some(before) = &before {
            // Before there is anything in it to be read.
            file.set_permissions(before.permissions())?;
        }
        file.write_all(bytes)
    };
    let written = fill().and_then(|()| fs::rename(&part, path));
    if written.is_err() {
        let _ = fs::remove_file(&part);
    }
    written
}

/// Adds to the end of a file, which is made if it is not there.
pub(super) fn append(path: &Path, bytes: &[u8]) -> io::Result<()> {
    OpenOptions::new().append(true).create(true).open(path)?.write_all(bytes)
}

/// Puts what could not be written where it was asked for into the folder for temporary files.
pub(super) fn keep(bytes: &[u8], extension: &str) -> io::Result<PathBuf> {
    let mut tries = 0;
    loop {
        let path = std::env::temp_dir().join(format!("gatecrash-report-{}-{tries}.{extension}", std::process::id()));
        // Never over a file, or through a link, that somebody else has put there.
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists && tries < 100 => tries += 1,
            Err(error) => return Err(error),
            Ok(mut file) => return file.write_all(bytes).map(|()| path),
        }
    }
}
