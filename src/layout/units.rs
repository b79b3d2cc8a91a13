//! Units of size and of order, as types that cannot be swapped by accident.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Bytes in a block: the unit of I/O, of validity and of change tracking.
pub const BLOCK: u64 = 4096;
/// Bytes in a segment: the unit of mapping (spec M1).
pub const SEGMENT: u64 = 1 << 20;
/// Bytes in an allocation unit: extents are runs of these.
pub const UNIT: u64 = 64 << 20;

/// A size or an offset in bytes. Prints with binary units; parses `"64 GiB"`, `"64Gi"`, `"4096"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub u64);

impl Bytes {
    /// So many KiB.
    pub const fn kib(n: u64) -> Self {
        Bytes(n << 10)
    }
    /// So many MiB.
    pub const fn mib(n: u64) -> Self {
        Bytes(n << 20)
    }
    /// So many GiB.
    pub const fn gib(n: u64) -> Self {
        Bytes(n << 30)
    }
    /// How many allocation units hold this many bytes, rounded up.
    pub const fn units_up(self) -> u64 {
        self.0.div_ceil(UNIT)
    }
}

const SUFFIXES: [(&str, u32); 6] = [
    ("EiB", 60),
    ("PiB", 50),
    ("TiB", 40),
    ("GiB", 30),
    ("MiB", 20),
    ("KiB", 10),
];

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, shift) in SUFFIXES {
            let one = 1u64 << shift;
            if self.0 >= one {
                return if self.0.is_multiple_of(one) {
                    write!(f, "{} {name}", self.0 >> shift)
                } else {
                    write!(f, "{:.1} {name}", self.0 as f64 / one as f64)
                };
            }
        }
        write!(f, "{} B", self.0)
    }
}

/// A size that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not a size: {why} (write 4096, \"64 MiB\" or \"64Mi\")")]
pub struct SizeError {
    /// What was given.
    pub text: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl std::str::FromStr for Bytes {
    type Err = SizeError;
    fn from_str(text: &str) -> Result<Self, SizeError> {
        let bad = |why| SizeError {
            text: text.to_owned(),
            why,
        };
        let t = text.trim();
        if t.starts_with('-') {
            return Err(bad("a size cannot be negative"));
        }
        let split = t.find(|c: char| !c.is_ascii_digit()).unwrap_or(t.len());
        let (digits, suffix) = t.split_at(split);
        let n: u64 = digits
            .parse()
            .map_err(|_| bad("it does not start with a whole number"))?;
        let suffix = suffix.trim().trim_end_matches('B');
        let shift = match suffix {
            "" => 0,
            s => SUFFIXES
                .iter()
                .find(|(name, _)| name.trim_end_matches('B') == s)
                .map(|(_, shift)| *shift)
                .ok_or_else(|| bad("the unit is not one of Ki, Mi, Gi, Ti, Pi, Ei"))?,
        };
        n.checked_mul(1u64 << shift)
            .map(Bytes)
            .ok_or_else(|| bad("it does not fit 64 bits"))
    }
}

impl Serialize for Bytes {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        // What people are shown may be rounded ("1.5 GiB"); what is stored must be read back.
        let shown = self.to_string();
        match shown.parse() {
            Ok(same) if *self == same => s.serialize_str(&shown),
            _ => s.serialize_u64(self.0),
        }
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl serde::de::Visitor<'_> for V {
            type Value = Bytes;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as 4096, \"64 MiB\" or \"64Mi\"")
            }
            fn visit_u64<E: serde::de::Error>(self, v: u64) -> Result<Bytes, E> {
                Ok(Bytes(v))
            }
            fn visit_i64<E: serde::de::Error>(self, v: i64) -> Result<Bytes, E> {
                u64::try_from(v).map(Bytes).map_err(|_| {
                    E::custom(SizeError {
                        text: v.to_string(),
                        why: "a size cannot be negative",
                    })
                })
            }
            fn visit_str<E: serde::de::Error>(self, v: &str) -> Result<Bytes, E> {
                v.parse().map_err(E::custom)
            }
        }
        d.deserialize_any(V)
    }
}

macro_rules! counter {
    ($(#[$doc:meta])* $name:ident, $int:ty) => {
        $(#[$doc])*
        #[derive(
            Clone,
            Copy,
            Debug,
            Default,
            PartialEq,
            Eq,
            PartialOrd,
            Ord,
            Hash,
            Serialize,
            Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $int);

        impl $name {
            /// The one after this.
            ///
            /// # Panics
            /// When the counter is used up, which no system reaches.
            #[must_use]
            pub const fn next(self) -> Self {
                $name(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

counter!(
    /// Counts the versions of a layout, and of each object in it; storage refuses older ones (spec
    /// A4).
    Generation,
    u64
);
counter!(
    /// The number of a leader; nodes keep the highest seen and refuse an older one (spec A9).
    Term,
    u64
);
counter!(
    /// The time between two cuts of one volume (a snapshot, a delta set, the loss of a leg).
    Epoch,
    u32
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_print_and_parse() {
        for (text, n) in [
            ("0", 0),
            ("4096", 4096),
            ("64 MiB", 64 << 20),
            ("64Mi", 64 << 20),
            ("2TiB", 2 << 40),
        ] {
            assert_eq!(text.parse::<Bytes>().unwrap(), Bytes(n), "{text}");
        }
        assert_eq!(Bytes(64 << 20).to_string(), "64 MiB");
        assert_eq!(Bytes(1 << 30 | 1 << 29).to_string(), "1.5 GiB");
        for exact in [
            0,
            1,
            4095,
            1 << 20,
            (1 << 30) + 4096,
            (1 << 40) - 1,
            u64::MAX,
        ] {
            let json = serde_json::to_string(&Bytes(exact)).unwrap();
            assert_eq!(
                serde_json::from_str::<Bytes>(&json).unwrap(),
                Bytes(exact),
                "{json}"
            );
        }
        for bad in ["-1", "x", "12 Zi", "99999999999 EiB", ""] {
            assert!(bad.parse::<Bytes>().is_err(), "{bad}");
        }
    }
}
