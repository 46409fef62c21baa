//! Signed notes (C2SP `signed-note`), as far as checkpoints and cosignatures need them: a text, a blank line, and a line
//! for each signature. Parsing is strict: what does not have exactly one reading is refused.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

use crate::crypto::{PublicKey, sha256};
use crate::limits;

/// The type byte of timestamped Ed25519 cosignatures (C2SP `signed-note`, "Signature types").
pub const COSIGNATURE_TYPE: u8 = 0x04;

/// What a signature line begins with: an em dash and a space.
const LINE_START: &str = "\u{2014} ";

/// Why a text is no signed note, checkpoint, receipt or policy.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NoteError {
    /// It is longer than allowed.
    #[error("the text has {found} bytes, at most {limit} are read")]
    TooLong {
        /// Its length.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// A line is not what its place asks for.
    #[error("line {line}: {why}")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The text as a whole has not the form.
    #[error("{0}")]
    Form(&'static str),
}

/// A line of a signed note: who signed, and the signature with all that belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    /// The name of the key.
    pub name: String,
    /// The first four bytes of a hash of name, type and key: [`key_id`].
    pub key_id: [u8; 4],
    /// What follows: for a cosignature the time in seconds as 8 bytes, big-endian, and 64 bytes of Ed25519.
    pub payload: Vec<u8>,
}

/// A text and its signature lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedNote {
    /// The text, with its final newline.
    pub text: String,
    /// The signatures, at least one.
    pub signatures: Vec<NoteSignature>,
}

/// The id of a cosigner's key: `SHA-256(name || "\n" || 0x04 || public key)[..4]` (C2SP `tlog-cosignature`).
#[must_use]
pub fn key_id(name: &str, key: &PublicKey) -> [u8; 4] {
    let hash = sha256(&[name.as_bytes(), b"\n", &[COSIGNATURE_TYPE], &key.0]).0;
    [hash[0], hash[1], hash[2], hash[3]]
}

/// A cosigner's key as text: `<name>+<key id in hexadecimal>+base64(0x04 || public key)` (C2SP `signed-note`).
#[must_use]
pub fn verifier_key(name: &str, key: &PublicKey) -> String {
    let mut typed = vec![COSIGNATURE_TYPE];
    typed.extend_from_slice(&key.0);
    format!("{name}+{}+{}", hex::encode(key_id(name, key)), STANDARD.encode(typed))
}

/// Reads what [`verifier_key`] writes: name and key. None if it is of another type, or its id is not that of its key.
#[must_use]
pub fn read_verifier_key(text: &str) -> Option<(&str, PublicKey)> {
    let (name, rest) = text.split_once('+')?;
    let (id, typed) = rest.split_once('+')?;
    let typed = STANDARD.decode(typed).ok()?;
    let (kind, key) = typed.split_first()?;
    let key = PublicKey(key.try_into().ok()?);
    let is_right = *kind == COSIGNATURE_TYPE && is_key_name(name) && id == hex::encode(key_id(name, &key));
    is_right.then_some((name, key))
}

/// Whether a text may name a key: not empty, no space, no plus, no control character.
#[must_use]
pub fn is_key_name(text: &str) -> bool {
    !text.is_empty()
        && !text.chars().any(|character| character.is_whitespace() || character.is_control() || character == '+')
}

/// base64 (RFC 4648 section 4) of bytes.
#[must_use]
pub fn encode_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Reads base64; only what [`encode_base64`] writes is accepted.
#[must_use]
pub fn decode_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// A number in decimal, without sign, space or leading zero.
#[must_use]
pub fn decimal(text: &str) -> Option<u64> {
    let is_canonical = text == "0" || text.starts_with(|first: char| ('1'..='9').contains(&first));
    let is_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    if is_canonical && is_digits { text.parse().ok() } else { None }
}

impl NoteSignature {
    /// The line, with its newline.
    #[must_use]
    pub fn line(&self) -> String {
        let mut bytes = self.key_id.to_vec();
        bytes.extend_from_slice(&self.payload);
        format!("{LINE_START}{} {}\n", self.name, STANDARD.encode(bytes))
    }

    fn parse(text: &str) -> Option<Self> {
        let (name, encoded) = text.strip_prefix(LINE_START)?.split_once(' ')?;
        let bytes = STANDARD.decode(encoded).ok().filter(|_| is_key_name(name))?;
        let (key_id, payload) = bytes.split_first_chunk::<4>().filter(|(_, payload)| !payload.is_empty())?;
        Some(Self { name: name.to_owned(), key_id: *key_id, payload: payload.to_vec() })
    }
}

impl SignedNote {
    /// Reads a signed note.
    ///
    /// # Errors
    /// If it has not the form, or is longer than [`limits::NOTE_BYTES_MAX`].
    pub fn parse(note: &str) -> Result<Self, NoteError> {
        let limit = limits::NOTE_BYTES_MAX;
        if note.len() > limit {
            return Err(NoteError::TooLong { found: note.len(), limit });
        }
        if note.chars().any(|character| character < ' ' && character != '\n') {
            return Err(NoteError::Form("a note has a control character"));
        }
        let blank = note.rfind("\n\n").ok_or(NoteError::Form("a note has a blank line before its signatures"))?;
        let (text, lines) = (&note[..=blank], &note[blank + 2..]);
        let Some(lines) = lines.strip_suffix('\n') else {
            return Err(NoteError::Form("a note ends with a signature line and a newline"));
        };
        let before = text.lines().count() + 1;
        let mut signatures = Vec::new();
        for (number, line) in lines.split('\n').enumerate() {
            let why = "this is no signature line: an em dash, a name and base64";
            let line = NoteSignature::parse(line).ok_or(NoteError::Line { line: before + number + 1, why })?;
            signatures.push(line);
        }
        if signatures.len() > limits::NOTE_SIGNATURES_MAX {
            return Err(NoteError::Form("a note has too many signatures"));
        }
        Ok(Self { text: text.to_owned(), signatures })
    }

    /// The note as text.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut note = format!("{}\n", self.text);
        self.signatures.iter().for_each(|signature| note.push_str(&signature.line()));
        note
    }
}
