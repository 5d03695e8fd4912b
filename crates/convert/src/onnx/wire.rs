//! The part of the protobuf wire format that ONNX needs. Fields borrow their bytes, nothing is allocated.
//! <https://protobuf.dev/programming-guides/encoding/>

/// The value of one field.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Wire<'a> {
    Varint(u64),
    Fixed64([u8; 8]),
    Bytes(&'a [u8]),
    Fixed32([u8; 4]),
}

impl<'a> Wire<'a> {
    pub(super) fn bytes(self) -> Option<&'a [u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    pub(super) fn text(self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    pub(super) fn int(self) -> Option<i64> {
        match self {
            Self::Varint(value) => Some(value as i64),
            _ => None,
        }
    }

    pub(super) fn float(self) -> Option<f32> {
        match self {
            Self::Fixed32(bytes) => Some(f32::from_le_bytes(bytes)),
            _ => None,
        }
    }
}

/// The fields of a message, in order. Ends after the first damaged field, which is `None`.
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

pub(super) fn fields(message: &[u8]) -> Fields<'_> {
    Fields { rest: message }
}

impl<'a> Iterator for Fields<'a> {
    /// Field number and value. `None` for a damaged field.
    type Item = Option<(u64, Wire<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = field(&mut self.rest);
        if field.is_none() {
            self.rest = &[];
        }
        Some(field)
    }
}

fn field<'a>(rest: &mut &'a [u8]) -> Option<(u64, Wire<'a>)> {
    let key = varint(rest)?;
    let value = match key & 7 {
        0 => Wire::Varint(varint(rest)?),
        1 => Wire::Fixed64(rest.split_off(..8)?.try_into().ok()?),
        2 => {
            let len = usize::try_from(varint(rest)?).ok()?;
            Wire::Bytes(rest.split_off(..len)?)
        }
        5 => Wire::Fixed32(rest.split_off(..4)?.try_into().ok()?),
        // Groups, which ONNX does not use.
        _ => return None,
    };
    Some((key >> 3, value))
}

/// A varint: seven bits per byte, lowest first, at most ten bytes.
fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let &byte = rest.split_off_first()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// The numbers of a repeated integer field: packed, or one per field.
pub(super) fn ints(value: Wire<'_>, into: &mut Vec<i64>) -> Option<()> {
    match value {
        Wire::Varint(value) => into.push(value as i64),
        Wire::Bytes(mut packed) => {
            while !packed.is_empty() {
                into.push(varint(&mut packed)? as i64);
            }
        }
        _ => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_are_read_as_the_specification_says() {
        // The example of the encoding guide: field 1 = 150, field 2 = "testing".
        let message = b"\x08\x96\x01\x12\x07testing";
        let found: Option<Vec<_>> = fields(message).collect();
        assert_eq!(
            found,
            Some(vec![(1, Wire::Varint(150)), (2, Wire::Bytes(b"testing"))])
        );
    }

    #[test]
    fn broken_messages_end() {
        for message in [
            &b"\x08"[..],
            b"\x12\x07test",
            b"\x0b",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        ] {
            assert_eq!(fields(message).collect::<Vec<_>>(), [None], "{message:?}");
        }
    }
}
