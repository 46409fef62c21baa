//! What a target is, and what it must hold to.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// What a decoder said to an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judged {
    /// It is no value, and the decoder said so.
    Refused,
    /// It is a value, which went there and back unchanged.
    Accepted,
}

impl Judged {
    /// Of a decoder's result.
    pub fn of<T, E>(result: &Result<T, E>) -> Self {
        if result.is_ok() { Self::Accepted } else { Self::Refused }
    }
}

/// A decoder under test.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name: of the program in `fuzz/fuzz_targets`, and of the folder of its corpus.
    pub name: &'static str,
    /// Decodes; panics if the value does not survive the way there and back.
    pub run: fn(&[u8]) -> Judged,
    /// How many decoders the first byte of the input chooses from, modulo; 1 if it does not choose.
    pub choices: usize,
    /// How many bytes it may hold at a time whatever the input.
    pub base_bytes: u64,
    /// How many bytes more for each byte of input: encoding it again and comparing included.
    pub factor: u64,
}

impl Target {
    /// How many bytes it may hold at a time for an input of so many.
    #[must_use]
    pub const fn bytes_max(&self, input: usize) -> u64 {
        self.base_bytes + self.factor * input as u64
    }

    /// Runs it on an input, and looks at what it allocated.
    ///
    /// # Panics
    /// If a property does not hold; also with the decoder's own panic.
    #[must_use]
    pub fn check(&self, input: &[u8]) -> Judged {
        let (judged, held) = self.measure(input);
        let allowed = self.bytes_max(input.len());
        assert!(
            held <= allowed,
            "{}: {} bytes of input made it hold {held} bytes at a time, at most {allowed} are allowed",
            self.name,
            input.len()
        );
        judged
    }

    /// Runs it on an input: what it said, and the most that it held at a time, in bytes.
    ///
    /// # Panics
    /// As the decoder.
    #[must_use]
    pub fn measure(&self, input: &[u8]) -> (Judged, u64) {
        let mut judged = Ok(Judged::Refused);
        // The counter must see the end of the measurement, so a panic goes on only after it.
        let info = allocation_counter::measure(|| judged = catch_unwind(AssertUnwindSafe(|| (self.run)(input))));
        match judged {
            Ok(judged) => (judged, info.bytes_max),
            Err(panic) => resume_unwind(panic),
        }
    }
}
