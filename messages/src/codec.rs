//! The canonical layout of everything that is hashed or signed.
//!
//! Integers are big-endian and of fixed width; a byte string is its length as `u32` and its bytes; text is a byte
//! string in UTF-8; a list is its count as `u32` and its items; an optional value is one byte, 0 or 1, and the value.
//! Each value has exactly one encoding, and decoding accepts only that one: `decode(encode(x)) == x`, and any bytes
//! that decode are the bytes that encoding would give. Decoding never allocates more than the input is long.

use std::sync::Arc;

use thiserror::Error;

/// Why bytes are not the layout that was expected.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The input ended inside a value.
    #[error("the input ends {missing} bytes too early")]
    Short {
        /// How many bytes were missing for the value being read.
        missing: usize,
    },
    /// Bytes remain after the value.
    #[error("{0} bytes remain after the value")]
    Trailing(usize),
    /// A length or count is above its limit.
    #[error("{what} is {found}, above the limit of {limit}")]
    TooLarge {
        /// What was measured.
        what: &'static str,
        /// The length found.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// A value is not one of those allowed.
    #[error("{0}")]
    Invalid(&'static str),
}

/// A type with a canonical layout.
pub trait Layout: Sized {
    /// Appends the layout.
    fn write(&self, writer: &mut Writer);
    /// Reads one value and checks it.
    ///
    /// # Errors
    /// If the bytes are not a canonical encoding of a valid value.
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError>;

    /// The layout as bytes of their own.
    fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        self.write(&mut writer);
        writer.into_bytes()
    }

    /// Reads a value that must fill the input.
    ///
    /// # Errors
    /// As [`Layout::read`], and if bytes remain.
    fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let value = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(value)
    }
}

/// Builds a canonical layout.
#[derive(Debug, Default, Clone)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// A writer with room for `bytes`.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes) }
    }

    /// One byte.
    pub fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    /// Two bytes, big-endian.
    pub fn u16(&mut self, value: u16) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    /// Four bytes, big-endian.
    pub fn u32(&mut self, value: u32) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    /// Eight bytes, big-endian.
    pub fn u64(&mut self, value: u64) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    /// Bytes without a length.
    pub fn fixed(&mut self, value: &[u8]) {
        self.bytes.extend_from_slice(value);
    }

    /// A `u32` length and the bytes.
    pub fn bytes(&mut self, value: &[u8]) {
        self.count(value.len());
        self.bytes.extend_from_slice(value);
    }

    /// A `u32` length and the UTF-8 bytes.
    pub fn text(&mut self, value: &str) {
        self.bytes(value.as_bytes());
    }

    /// A `u32` count. Everything in the product is bounded far below `u32::MAX`.
    pub fn count(&mut self, count: usize) {
        debug_assert!(u32::try_from(count).is_ok());
        self.u32(u32::try_from(count).unwrap_or(u32::MAX));
    }

    /// An optional value.
    pub fn option<T: Layout>(&mut self, value: Option<&T>) {
        match value {
            None => self.u8(0),
            Some(value) => {
                self.u8(1);
                value.write(self);
            }
        }
    }

    /// A counted list.
    pub fn list<T: Layout>(&mut self, values: &[T]) {
        self.count(values.len());
        for value in values {
            value.write(self);
        }
    }

    /// How many bytes were written so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing was written yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// What was written so far.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Forgets what was written, keeps the room: for one layout after the other.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// The finished layout.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// Reads a canonical layout.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader over `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next `length` bytes.
    ///
    /// # Errors
    /// If the input is shorter.
    pub fn fixed(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        match self.rest.split_at_checked(length) {
            Some((head, tail)) => {
                self.rest = tail;
                Ok(head)
            }
            None => Err(DecodeError::Short { missing: length - self.rest.len() }),
        }
    }

    /// The next `N` bytes as an array.
    ///
    /// # Errors
    /// If the input is shorter.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut array = [0; N];
        array.copy_from_slice(self.fixed(N)?);
        Ok(array)
    }

    /// One byte.
    ///
    /// # Errors
    /// If the input is shorter.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.array::<1>()?[0])
    }

    /// Two bytes, big-endian.
    ///
    /// # Errors
    /// If the input is shorter.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    /// Four bytes, big-endian.
    ///
    /// # Errors
    /// If the input is shorter.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    /// Eight bytes, big-endian.
    ///
    /// # Errors
    /// If the input is shorter.
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    /// A `u32` length, at most `limit`, and that many bytes.
    ///
    /// # Errors
    /// If the length is above the limit or the input is shorter.
    pub fn bytes(&mut self, what: &'static str, limit: usize) -> Result<&'a [u8], DecodeError> {
        let length = self.u32()? as usize;
        if length > limit {
            return Err(DecodeError::TooLarge { what, found: length, limit });
        }
        self.fixed(length)
    }

    /// A byte string that is UTF-8.
    ///
    /// # Errors
    /// As [`Reader::bytes`], and if it is not UTF-8.
    pub fn text(&mut self, what: &'static str, limit: usize) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.bytes(what, limit)?).map_err(|_| DecodeError::Invalid("a text is not UTF-8"))
    }

    /// A `u32` count, at most `limit`, of items of at least `item_bytes_min` bytes: so a count promises no more than
    /// the input can hold, and a list may be allocated at once.
    ///
    /// # Errors
    /// If the count is above the limit, or the input cannot hold so many.
    pub fn count(&mut self, what: &'static str, limit: usize, item_bytes_min: usize) -> Result<usize, DecodeError> {
        let count = self.u32()? as usize;
        if count > limit {
            return Err(DecodeError::TooLarge { what, found: count, limit });
        }
        let needed = count.saturating_mul(item_bytes_min.max(1));
        if needed > self.rest.len() {
            return Err(DecodeError::Short { missing: needed - self.rest.len() });
        }
        Ok(count)
    }

    /// A counted list.
    ///
    /// # Errors
    /// As [`Reader::count`], and what its items refuse.
    pub fn list<T: Layout>(
        &mut self,
        what: &'static str,
        limit: usize,
        item_bytes_min: usize,
    ) -> Result<Vec<T>, DecodeError> {
        let count = self.count(what, limit, item_bytes_min)?;
        let mut values = Vec::with_capacity(count);
        for _ in 0..count {
            values.push(T::read(self)?);
        }
        Ok(values)
    }

    /// An optional value.
    ///
    /// # Errors
    /// If the marker is neither 0 nor 1, or the value is refused.
    pub fn option<T: Layout>(&mut self) -> Result<Option<T>, DecodeError> {
        match self.u8()? {
            0 => Ok(None),
            1 => Ok(Some(T::read(self)?)),
            _ => Err(DecodeError::Invalid("an option's marker is neither 0 nor 1")),
        }
    }

    /// How many bytes remain.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Checks that nothing remains.
    ///
    /// # Errors
    /// If bytes remain.
    pub fn finish(&self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::Trailing(self.rest.len())) }
    }
}

impl Layout for u64 {
    fn write(&self, writer: &mut Writer) {
        writer.u64(*self);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.u64()
    }
}

impl<T: Layout> Layout for Arc<T> {
    fn write(&self, writer: &mut Writer) {
        T::write(self, writer);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self::new(T::read(reader)?))
    }
}
