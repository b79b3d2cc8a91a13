//! What the machine and single processes used: CPU seconds, and what the hypervisor stole.

use anyhow::{Context, Result};
use std::fs;
use std::time::Duration;

/// Ticks a second in /proc: Linux fixes it for user space on all its architectures of today.
const TICKS: f64 = 100.0;

/// The counters of /proc/stat at one moment, in ticks of all cores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    busy: u64,
    stolen: u64,
    total: u64,
}

/// What happened between two moments.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Used {
    /// CPU seconds of all cores together.
    pub cpu: f64,
    /// The share of all cores' time that went to others on the same hardware, 0 to 1.
    pub steal: f64,
}

impl Machine {
    /// Now.
    ///
    /// # Errors
    /// Where /proc/stat is not what it has always been.
    pub fn now() -> Result<Self> {
        let text = fs::read_to_string("/proc/stat").context("/proc/stat")?;
        parse_machine(&text).context("/proc/stat has another shape")
    }

    /// What was used from then to now.
    ///
    /// # Errors
    /// As [`Machine::now`].
    pub fn since(self) -> Result<Used> {
        let now = Machine::now()?;
        let total = (now.total - self.total).max(1);
        Ok(Used {
            cpu: (now.busy - self.busy) as f64 / TICKS,
            steal: (now.stolen - self.stolen) as f64 / total as f64,
        })
    }
}

/// user nice system idle iowait irq softirq steal; guest time is in user already.
fn parse_machine(text: &str) -> Option<Machine> {
    let numbers = text.lines().next()?.strip_prefix("cpu ")?;
    let n: Vec<u64> = numbers
        .split_whitespace()
        .map_while(|n| n.parse().ok())
        .collect();
    let [user, nice, system, idle, iowait, irq, softirq, stolen, ..] = n[..] else {
        return None;
    };
    let busy = user + nice + system + irq + softirq;
    Some(Machine {
        busy,
        stolen,
        total: busy + idle + iowait + stolen,
    })
}

/// CPU time of one process so far, of the threads that it has now.
///
/// # Errors
/// Where there is no such process.
pub fn process(pid: u32) -> Result<Duration> {
    let path = format!("/proc/{pid}/task");
    let mut sum = Duration::ZERO;
    for thread in fs::read_dir(&path).with_context(|| path.clone())? {
        let path = thread?.path().join("schedstat");
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let time = parse_thread(&text);
        sum += time.with_context(|| format!("{} has another shape", path.display()))?;
    }
    Ok(sum)
}

/// The first number is the time on a core in nanoseconds: ticks would not see who wakes for less.
fn parse_thread(text: &str) -> Option<Duration> {
    let first = text.split_whitespace().next()?;
    first.parse().ok().map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read() {
        let machine = parse_machine("cpu  10 1 5 100 2 0 3 7 0 0\ncpu0 1").unwrap();
        assert_eq!((machine.busy, machine.stolen, machine.total), (19, 7, 128));
        assert_eq!(parse_machine("cpu 1 2"), None);
        let time = Duration::from_nanos(1500);
        assert_eq!(parse_thread("1500 20 3\n"), Some(time));
        assert_eq!(parse_thread(""), None);
        assert!(process(std::process::id()).is_ok());
        assert!(Machine::now().unwrap().since().unwrap().steal <= 1.0);
    }
}
