//! What the command line prints, and nothing else does: results on stdout, notes and progress on stderr.

use std::fmt::Display;
use std::io::{BufRead as _, ErrorKind, IsTerminal as _, Write as _};
use std::sync::OnceLock;
use std::time::Duration;

use comfy_table::presets::UTF8_BORDERS_ONLY;
use comfy_table::{ContentArrangement, Table};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

/// Prints for people, or with `--json` for programs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    json: bool,
}

impl Output {
    pub(super) const fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether programs read it.
    pub(super) const fn is_json(self) -> bool {
        self.json
    }

    /// Whether a person sees stdout.
    pub(super) fn is_live(self) -> bool {
        !self.json && std::io::stdout().is_terminal()
    }

    /// A line for people.
    pub(super) fn line(self, text: impl Display) {
        if !self.json {
            print(&format!("{text}\n"));
        }
    }

    /// A result: as JSON for programs, else in the words that `words` finds.
    pub(super) fn result<T: Serialize>(self, value: &T, words: impl FnOnce(&T) -> String) {
        if self.json {
            print(&format!("{}\n", serde_json::to_string_pretty(value).unwrap_or_else(|error| error.to_string())));
        } else {
            print(&format!("{}\n", words(value)));
        }
    }

    /// One of many results: as a line of JSON for programs, else in the words that `words` finds.
    pub(super) fn item<T: Serialize>(self, value: &T, words: impl FnOnce(&T) -> String) {
        if self.json {
            print(&format!("{}\n", serde_json::to_string(value).unwrap_or_else(|error| error.to_string())));
        } else {
            print(&format!("{}\n", words(value)));
        }
    }

    /// Replaces what a terminal shows.
    pub(super) fn redraw(self, text: &str) {
        const CURSOR_HOME: &str = "\x1b[H";
        const CLEAR_BELOW: &str = "\x1b[J";
        const CLEAR_LINE_END: &str = "\x1b[K\n";
        print(&format!("{CURSOR_HOME}{}{CLEAR_BELOW}", text.replace('\n', CLEAR_LINE_END)));
    }

    /// Empties a terminal before the first [`Output::redraw`].
    pub(super) fn clear(self) {
        print("\x1b[2J");
    }

    /// A shell's completions.
    pub(super) fn completions(self, shell: clap_complete::Shell, command: &mut clap::Command) {
        let mut text = Vec::new();
        clap_complete::generate(shell, command, "dtvn", &mut text);
        print(&String::from_utf8_lossy(&text));
    }

    /// A remark beside the result.
    pub(super) fn note(self, text: impl Display) {
        // There is nobody left to tell if this fails.
        let _ = writeln!(std::io::stderr(), "{text}");
    }

    /// Asks a person at the terminal; where there is none, nobody is asked, and it is yes.
    pub(super) fn confirm(self, question: &str) -> std::io::Result<bool> {
        let stdin = std::io::stdin();
        if !stdin.is_terminal() {
            return Ok(true);
        }
        self.note(format!("{question} [y/N]"));
        let mut answer = String::new();
        stdin.lock().read_line(&mut answer)?;
        Ok(is_yes(&answer))
    }

    /// A progress bar of `length` steps on stderr; invisible where nobody looks.
    pub(super) fn progress(self, length: u64, template: &str) -> ProgressBar {
        if self.json || !std::io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::new(length);
        bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.enable_steady_tick(Duration::from_millis(100));
        bar
    }

    /// Something that goes on for an unknown time.
    pub(super) fn spinner(self, text: impl Into<String>) -> ProgressBar {
        let text = text.into();
        if self.json || !std::io::stderr().is_terminal() {
            self.note(text);
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::new_spinner().with_message(text);
        bar.enable_steady_tick(Duration::from_millis(100));
        bar
    }
}

fn is_yes(answer: &str) -> bool {
    ["y", "yes"].iter().any(|yes| answer.trim().eq_ignore_ascii_case(yes))
}

/// The usual bar: what, how far, how much, how long yet.
pub(super) const BAR: &str = "{msg:>20} {bar:32} {pos}/{len} {per_sec} {eta}";

/// A table with a head.
pub(super) fn table<const N: usize>(head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_preset(UTF8_BORDERS_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(head);
    table.add_rows(rows);
    table.to_string()
}

/// Why something was not written to stdout, if it was not.
static UNWRITTEN: OnceLock<String> = OnceLock::new();

/// Why something was not written to stdout: a full disk, perhaps. Then the command has failed, whatever else it did.
pub(super) fn unwritten() -> Option<&'static str> {
    UNWRITTEN.get().map(String::as_str)
}

/// The only place that writes to stdout. A reader that went away (`| head`) is no error.
fn print(text: &str) {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => _ = UNWRITTEN.set(error.to_string()),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_is_yes() {
        assert!(["y\n", "yes\n", "Y", " Yes \r\n"].into_iter().all(is_yes));
        assert!(!["", "\n", "n\n", "no\n", "yesterday\n", "y y\n"].into_iter().any(is_yes));
    }
}
