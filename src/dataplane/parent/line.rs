//! What parent and I/O process say to each other, over the socket that is the I/O process's
//! standard input.
//!
//! One message is one byte. The end of either side is the end of the socket.

use super::ParentError;
use crate::sys::seqpacket;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Word {
    /// To the child: whoever has the disks is meant to have them.
    Start = b's',
    /// To the child: a predecessor is going or gone.
    TakeOver = b't',
    /// To the child, answered with the same.
    Alive = b'a',
    /// From the child: it could start; now it claims the disks.
    Prepared = b'p',
    /// From the child: it serves.
    Serving = b'r',
    /// From the child: it was asked for an upgrade.
    Upgrade = b'u',
    /// From the child: it was asked to end for good.
    End = b'e',
}

impl Word {
    fn from_byte(byte: u8) -> Option<Self> {
        use Word::{Alive, End, Prepared, Serving, Start, TakeOver, Upgrade};
        let all = [Start, TakeOver, Alive, Prepared, Serving, Upgrade, End];
        all.into_iter().find(|w| *w as u8 == byte)
    }
}

/// Says one word.
pub(super) fn say(socket: BorrowedFd<'_>, word: Word) -> io::Result<()> {
    seqpacket::send(socket, &[word as u8], &[])
}

/// Hears one word; `None` at the end. Waits for it.
pub(super) fn hear(socket: BorrowedFd<'_>) -> io::Result<Option<Word>> {
    let mut byte = [0];
    match seqpacket::receive(socket, &mut byte)? {
        (0, _) => Ok(None),
        _ => match Word::from_byte(byte[0]) {
            Some(word) => Ok(Some(word)),
            None => Err(io::Error::from_raw_os_error(libc::EPROTO)),
        },
    }
}

/// The I/O process's end.
#[derive(Debug)]
pub struct Supervised {
    socket: OwnedFd,
    take_over: bool,
}

impl Supervised {
    /// Finds the parent at standard input and hears whether this is a takeover.
    ///
    /// # Errors
    /// Where standard input is no such socket.
    pub fn from_stdin() -> Result<Self, ParentError> {
        let socket = io::stdin()
            .as_fd()
            .try_clone_to_owned()
            .map_err(ParentError::Line)?;
        let take_over = match hear(socket.as_fd()).map_err(ParentError::Line)? {
            Some(Word::Start) => false,
            Some(Word::TakeOver) => true,
            _ => {
                return Err(ParentError::Line(io::Error::from_raw_os_error(
                    libc::EPROTO,
                )));
            }
        };
        Ok(Supervised { socket, take_over })
    }

    /// Whether a predecessor is going or gone.
    pub fn is_takeover(&self) -> bool {
        self.take_over
    }

    /// Everything that can fail before the disks are claimed has succeeded. In an upgrade the
    /// predecessor is told to go only now.
    pub fn prepared(&self) {
        self.tell(Word::Prepared);
    }

    /// Requests are served from now on, and the parent may ask whether we are alive.
    pub fn serving(&self) {
        self.tell(Word::Serving);
    }

    /// Asks for a successor.
    pub fn ask_for_successor(&self) {
        self.tell(Word::Upgrade);
    }

    /// Says that the end that follows is meant.
    pub fn end(&self) {
        self.tell(Word::End);
    }

    /// Answers the parent, who said something; whether it is still there.
    pub fn answer(&self) -> bool {
        match hear(self.socket.as_fd()) {
            Ok(Some(_)) => {
                self.tell(Word::Alive);
                true
            }
            Ok(None) | Err(_) => false,
        }
    }

    /// A parent that is gone is noticed when we listen, not when we speak.
    fn tell(&self, word: Word) {
        let _ = say(self.socket.as_fd(), word);
    }
}

impl AsFd for Supervised {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
