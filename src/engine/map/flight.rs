//! Which I/Os have begun and not ended, counted by the blocking command they began after: so that
//! a blocking command knows when the last I/O older than itself has ended (spec M5).
//!
//! Begin and end are an addition each, without allocation. Invariant: `older` counts the I/Os that
//! began before the commands still waiting, oldest first, one count a command.

use crate::io::CommandId;
use std::collections::VecDeque;

/// Names one I/O that has begun; to be given back when it ended, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    change: u64,
}

struct Older {
    command: CommandId,
    /// I/Os that began after the blocking command before this one and before this one.
    running: u64,
}

/// The I/Os of one table.
#[derive(Default)]
pub struct Flight {
    /// How many blocking commands there were; what a ticket holds.
    change: u64,
    /// I/Os that began after the last of them.
    running: u64,
    older: VecDeque<Older>,
    drained: Vec<CommandId>,
}

impl Flight {
    /// An I/O begins.
    #[inline]
    pub fn begin(&mut self) -> Ticket {
        self.running += 1;
        Ticket {
            change: self.change,
        }
    }

    /// An I/O ended, well or not.
    ///
    /// # Panics
    /// Where none of its time is running: a ticket was given back twice.
    #[inline]
    pub fn end(&mut self, ticket: Ticket) {
        if ticket.change != self.change {
            return self.end_older(ticket);
        }
        assert!(self.running > 0, "{ticket:?} was given back twice");
        self.running -= 1;
    }

    #[cold]
    fn end_older(&mut self, ticket: Ticket) {
        let at = (ticket.change + self.older.len() as u64).checked_sub(self.change);
        let older = at.and_then(|i| self.older.get_mut(i as usize));
        let running = older
            .map(|o| &mut o.running)
            .filter(|running| **running > 0);
        assert!(running.is_some(), "{ticket:?} was given back twice");
        if let Some(running) = running {
            *running -= 1;
        }
        self.drain();
    }

    /// A blocking command changed the table: it is drained when all that began has ended.
    pub fn block(&mut self, command: CommandId) {
        self.older.push_back(Older {
            command,
            running: self.running,
        });
        self.change += 1;
        self.running = 0;
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(first) = self.older.pop_front_if(|o| o.running == 0) {
            self.drained.push(first.command);
        }
    }

    /// Blocking commands whose older I/Os have all ended, in the order of the commands.
    pub fn take_drained(&mut self) -> impl Iterator<Item = CommandId> {
        self.drained.drain(..)
    }

    /// I/Os that have begun and not ended.
    pub fn running(&self) -> u64 {
        self.running + self.older.iter().map(|o| o.running).sum::<u64>()
    }

    /// Bytes held beside this struct.
    pub fn memory(&self) -> usize {
        self.older.capacity() * size_of::<Older>()
            + self.drained.capacity() * size_of::<CommandId>()
    }
}
