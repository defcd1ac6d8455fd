//! Fixed-layout decoding: big-endian integers and byte arrays, nothing optional, nothing trailing.

/// Why bytes do not have the layout: too few, too many, or a field out of its range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, thiserror::Error)]
#[error("malformed encoding")]
pub struct Malformed;

/// Takes fields off the front of a byte string.
#[derive(Clone, Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// [`Malformed`] when fewer are left.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.0.split_first_chunk().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*head)
    }

    /// The next `n` bytes.
    ///
    /// # Errors
    /// [`Malformed`] when fewer are left.
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.0.split_at_checked(n).ok_or(Malformed)?;
        self.0 = rest;
        Ok(head)
    }

    /// The next byte.
    ///
    /// # Errors
    /// [`Malformed`] when none is left.
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        self.array().map(u8::from_be_bytes)
    }

    /// The next two bytes as a number.
    ///
    /// # Errors
    /// [`Malformed`] when fewer are left.
    pub fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }

    /// The next four bytes as a number.
    ///
    /// # Errors
    /// [`Malformed`] when fewer are left.
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    /// The next eight bytes as a number.
    ///
    /// # Errors
    /// [`Malformed`] when fewer are left.
    pub fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_be_bytes)
    }

    /// Takes the bytes of `expected` off the front.
    ///
    /// # Errors
    /// [`Malformed`] when the next bytes are others.
    pub fn literal(&mut self, expected: &[u8]) -> Result<(), Malformed> {
        self.0 = self.0.strip_prefix(expected).ok_or(Malformed)?;
        Ok(())
    }

    /// All that is left.
    #[must_use]
    pub const fn rest(self) -> &'a [u8] {
        self.0
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// [`Malformed`] when bytes are left.
    pub fn finish(self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed) }
    }
}

/// `N` bytes: the parts, one after the other. Their lengths add up to `N`, which every caller's
/// types fix; what is missing would stay zero and what is too much would be left out.
#[must_use]
pub fn concat<const N: usize>(parts: &[&[u8]]) -> [u8; N] {
    debug_assert_eq!(
        parts.iter().map(|part| part.len()).sum::<usize>(),
        N,
        "the layout has N bytes"
    );
    let mut out = [0; N];
    let mut rest = out.as_mut_slice();
    for part in parts {
        let Some((head, tail)) = rest.split_at_mut_checked(part.len()) else {
            break;
        };
        head.copy_from_slice(part);
        rest = tail;
    }
    out
}
