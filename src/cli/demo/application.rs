//! The application of the demo: writes files, later compares them. A process of its own, for one
//! that writes to a volume may hang as long as nobody serves it.
//!
//! It writes past the page cache, so that what it reports as written was answered by the volume. On
//! standard output, a line each: `writing NAME`, `w` for each write that was answered, and `done
//! NAME CRC` once the file is flushed. A file between `writing` and `done` may hold anything.

use anyhow::{Context, bail, ensure};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// Files; then the first is written over.
const FILES: u64 = 24;
/// Bytes of a write.
const PIECE: usize = 64 << 10;
/// Writes a file.
const PIECES: u64 = 64;
/// Bytes of a file.
pub const FILE_SIZE: u64 = PIECE as u64 * PIECES;
/// Direct I/O wants the memory aligned so.
const ALIGN: usize = 4096;

/// Set when standard input has ended.
static ENDED: AtomicBool = AtomicBool::new(false);

/// Writes files in `folder` until standard input ends.
///
/// # Errors
/// The first error of a file: there must be none.
pub fn write(folder: &Path, out: &mut dyn Write) -> anyhow::Result<()> {
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        ENDED.store(true, Ordering::Relaxed);
    });
    let mut memory = vec![0; PIECE + ALIGN];
    let start = memory.as_ptr().align_offset(ALIGN);
    let piece = &mut memory[start..start + PIECE];
    let mut round = 0;
    while !ENDED.load(Ordering::Relaxed) {
        let name = format!("file-{:02}", round % FILES);
        writeln!(out, "writing {name}")?;
        out.flush()?;
        let file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(false)
            .custom_flags(libc::O_DIRECT)
            .open(folder.join(&name))
            .with_context(|| format!("{name} cannot be opened"))?;
        let mut crc = 0;
        for at in 0..PIECES {
            fill(piece, round << 32 | at);
            crc = crc32c::crc32c_append(crc, piece);
            file.write_all_at(piece, at * PIECE as u64)
                .with_context(|| format!("{name} cannot be written"))?;
            writeln!(out, "w")?;
            out.flush()?;
        }
        file.sync_all()
            .with_context(|| format!("{name} cannot be flushed"))?;
        writeln!(out, "done {name} {crc:08x}")?;
        out.flush()?;
        round += 1;
    }
    Ok(())
}

/// Compares the files in `folder` with the list at standard input: a name and a checksum a line.
/// Prints how many are right.
///
/// # Errors
/// The first file that is not as it was written.
pub fn check(folder: &Path, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut right = 0;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let (name, crc) = line
            .split_once(' ')
            .context("a name and a checksum a line")?;
        let expected = u32::from_str_radix(crc, 16).context("a checksum in hexadecimal")?;
        let mut bytes = Vec::with_capacity(FILE_SIZE as usize);
        File::open(folder.join(name))
            .and_then(|mut file| file.read_to_end(&mut bytes))
            .with_context(|| format!("{name} cannot be read"))?;
        let size = bytes.len() as u64;
        ensure!(
            size == FILE_SIZE,
            "{name} has {size} bytes, written were {FILE_SIZE}"
        );
        let found = crc32c::crc32c(&bytes);
        if found != expected {
            bail!("{name} is not what was written: checksum {found:08x}, expected {expected:08x}");
        }
        right += 1;
    }
    writeln!(out, "{right}")?;
    Ok(())
}

/// Content that no two pieces share (the splitmix64 generator).
pub fn fill(piece: &mut [u8], seed: u64) {
    let mut state = seed.wrapping_mul(0xd134_2543_de82_ef95);
    for word in piece.chunks_mut(8) {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        word.copy_from_slice(&z.to_le_bytes()[..word.len()]);
    }
}
