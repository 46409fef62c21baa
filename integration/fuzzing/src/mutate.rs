//! A small mutator, for the runs without libFuzzer: seeded, so that a failure comes again.

use dtvn_messages::sha256;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Texts that parsers stumble over.
const WORDS: [&str; 28] = [
    "null",
    "true",
    "-1",
    "0",
    "1e999",
    "18446744073709551616",
    "-0.0",
    "\"",
    "\\",
    "\\u0000",
    "\\ud800",
    "{",
    "}",
    "[",
    "]",
    "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    ",",
    ":",
    ".",
    "..",
    "/",
    "=cmd|' /C calc'!A0",
    "\u{202e}",
    "\u{feff}",
    "é票",
    "\r\n",
    "\0",
    "9999-12-31T23:59:60+14:00",
];
const NUMBERS: [u64; 12] =
    [0, 1, 2, 127, 128, 250, 255, 65_535, u32::MAX as u64 - 1, u32::MAX as u64, i64::MAX as u64, u64::MAX];
/// No mutation makes an input longer than this.
const INPUT_BYTES_MAX: usize = 64 * 1024;

/// Makes inputs out of others.
pub struct Mutator(ChaCha8Rng);

impl Mutator {
    /// The mutator of a seed; another one for each name.
    #[must_use]
    pub fn new(seed: u64, name: &str) -> Self {
        Self(ChaCha8Rng::from_seed(sha256(&[b"dtvn/fuzzing/1", &seed.to_be_bytes(), name.as_bytes()]).0))
    }

    /// A number below `bound`; 0 if that is 0.
    fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.0.next_u64()) * bound as u128) >> 64) as usize
    }

    /// One of the inputs, changed in one to four places, or noise.
    pub fn next(&mut self, inputs: &[Vec<u8>]) -> Vec<u8> {
        if inputs.is_empty() || self.below(50) == 0 {
            return self.noise();
        }
        let mut input = inputs[self.below(inputs.len())].clone();
        for _ in 0..=self.below(4) {
            self.change(&mut input, inputs);
        }
        input.truncate(INPUT_BYTES_MAX);
        input
    }

    fn noise(&mut self) -> Vec<u8> {
        let length = self.below(200);
        (0..length).map(|_| self.0.next_u64() as u8).collect()
    }

    /// A place in the input, and the end of a short range that begins there.
    fn range(&mut self, length: usize) -> (usize, usize) {
        let from = self.below(length + 1);
        let most = if self.below(4) == 0 { length } else { 16 };
        (from, from + self.below((length - from).min(most) + 1))
    }

    fn change(&mut self, input: &mut Vec<u8>, others: &[Vec<u8>]) {
        let (from, to) = self.range(input.len());
        let at = self.below(input.len());
        match self.below(12) {
            0 | 1 if !input.is_empty() => input[at] ^= 1 << self.below(8),
            2 if !input.is_empty() => input[at] = self.0.next_u64() as u8,
            3 if !input.is_empty() => input[at] = NUMBERS[self.below(7)] as u8,
            4 => drop(input.drain(from..to)),
            5 => {
                let piece = input[from..to].to_vec();
                let place = self.below(input.len() + 1);
                input.splice(place..place, piece);
            }
            6 => {
                let (number, skipped) = (NUMBERS[self.below(NUMBERS.len())], [0, 4, 6, 7][self.below(4)]);
                overwrite(input, from, &number.to_be_bytes()[skipped..]);
            }
            7 => {
                let (number, length) = (NUMBERS[self.below(NUMBERS.len())], [1, 2, 4, 8][self.below(4)]);
                overwrite(input, from, &number.to_le_bytes()[..length]);
            }
            8 => {
                let word = WORDS[self.below(WORDS.len())].bytes();
                input.splice(from..to, word);
            }
            9 => {
                let other = &others[self.below(others.len())];
                let (begin, end) = self.range(other.len());
                input.splice(from..to, other[begin..end].iter().copied());
            }
            10 => input.truncate(from),
            _ => {
                let noise = self.noise();
                input.splice(from..from, noise.into_iter().take(9));
            }
        }
    }
}

fn overwrite(input: &mut Vec<u8>, from: usize, bytes: &[u8]) {
    let end = (from + bytes.len()).min(input.len());
    input.splice(from..end, bytes.iter().copied());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_inputs_again() {
        let inputs = [b"{\"ticket_id\": \"A\"}".to_vec(), vec![0; 40]];
        let run = |seed| {
            let mut mutator = Mutator::new(seed, "target");
            (0..500).map(|_| mutator.next(&inputs)).collect::<Vec<_>>()
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
        let changed = run(1).iter().filter(|input| !inputs.contains(input)).count();
        assert!(changed > 400, "{changed} of 500 differ from where they came from");
    }
}
