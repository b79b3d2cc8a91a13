//! Of two leaders the older is refused (spec A9).

use layout::Term;

/// A leader that is not the newest any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("term {given} is older than {highest}, which was seen here")]
pub struct StaleTerm {
    /// What was given.
    pub given: Term,
    /// The highest seen: a rightful leader records a higher one before it tries again.
    pub highest: Term,
}

/// Keeps the highest term seen. Making it durable is the shell's part:
///
/// 1. `check` says that the term is higher than all before;
/// 2. the shell makes that term durable;
/// 3. `raise`, and only then the request is carried out.
///
/// Carried out before it is durable, a request of the older leader could follow it after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TermGate {
    highest: Term,
}

/// What is to be done before a request is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Checked {
    /// Nothing.
    Known,
    /// Make this term durable, then [`TermGate::raise`].
    Higher(Term),
}

impl TermGate {
    /// With the highest term that is durable; 0 where none is.
    pub fn new(highest: Term) -> Self {
        TermGate { highest }
    }

    /// The highest term that is durable.
    pub fn highest(&self) -> Term {
        self.highest
    }

    /// Asks for a request of this term.
    ///
    /// # Errors
    /// [`StaleTerm`] for an older one.
    pub fn check(&self, given: Term) -> Result<Checked, StaleTerm> {
        let highest = self.highest;
        match given.cmp(&highest) {
            std::cmp::Ordering::Less => Err(StaleTerm { given, highest }),
            std::cmp::Ordering::Equal => Ok(Checked::Known),
            std::cmp::Ordering::Greater => Ok(Checked::Higher(given)),
        }
    }

    /// The term is durable.
    ///
    /// # Panics
    /// Where a higher one is already.
    pub fn raise(&mut self, durable: Term) {
        assert!(
            durable >= self.highest,
            "term {durable} after {}",
            self.highest
        );
        self.highest = durable;
    }
}
