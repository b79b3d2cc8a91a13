//! What the demo says while it runs: chapters, lines, a bar where there is a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Where it is said. What cannot be written is not worth ending the demo for: it must clean up.
pub struct Teller<'a> {
    out: &'a mut dyn Write,
    colour: bool,
    chapter: u32,
    begin: Instant,
}

impl<'a> Teller<'a> {
    /// Colours only on a terminal whose user has not asked for none.
    pub fn new(out: &'a mut dyn Write) -> Self {
        let terminal = std::io::stdout().is_terminal();
        Teller {
            out,
            colour: terminal && std::env::var_os("NO_COLOR").is_none(),
            chapter: 0,
            begin: Instant::now(),
        }
    }

    /// Since the demo began.
    pub fn elapsed(&self) -> Duration {
        self.begin.elapsed()
    }

    /// Begins a chapter.
    pub fn chapter(&mut self, title: &str) {
        self.chapter += 1;
        let at = self.begin.elapsed().as_secs_f64();
        let (on, off) = self.paint("\x1b[1;36m");
        let number = self.chapter;
        let _ = writeln!(self.out, "\n{on}{number}. {title}{off}  ({at:.1} s)");
        let _ = self.out.flush();
    }

    /// Says something, each line indented.
    pub fn say(&mut self, text: impl AsRef<str>) {
        for line in text.as_ref().lines() {
            let _ = writeln!(self.out, "   {line}");
        }
        let _ = self.out.flush();
    }

    /// Says that something is as it should be.
    pub fn good(&mut self, text: impl AsRef<str>) {
        let (on, off) = self.paint("\x1b[32m");
        let _ = writeln!(self.out, "   {on}ok{off}  {}", text.as_ref());
        let _ = self.out.flush();
    }

    /// A bar of so many steps; nothing where there is no terminal.
    pub fn bar(&self, total: u64, what: &str) -> ProgressBar {
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stdout());
        let plain = "   {msg} [{bar:30}] {percent}%";
        if let Ok(style) = ProgressStyle::with_template(plain) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(what.to_owned());
        bar
    }

    fn paint(&self, code: &'static str) -> (&'static str, &'static str) {
        if self.colour {
            (code, "\x1b[0m")
        } else {
            ("", "")
        }
    }
}

/// Milliseconds for people.
pub fn ms(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}
