//! The protobuf wire format, as far as frames need it: fields read from a slice, unknown ones skipped.

use crate::InvalidAggregate;

/// Groups nested deeper than this make a frame invalid. It is the depth at which the common decoders stop.
const MAX_GROUP_DEPTH: usize = 100;

/// The largest protobuf varint: 64 bits, seven in each byte.
const MAX_VARINT_BYTES: usize = 10;

/// A field's value as its wire type delimits it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Varint(u64),
    Bytes(Span<'a>),
    /// A fixed32, a fixed64 or a group: known fields never have these types, so their contents do not matter.
    Skipped,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Field<'a> {
    pub(crate) number: u32,
    pub(crate) value: Value<'a>,
}

/// Part of a frame that still knows where in the frame it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span<'a> {
    pub(crate) bytes: &'a [u8],
    /// Position of `bytes` in the frame.
    pub(crate) offset: usize,
}

impl<'a> Span<'a> {
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Takes the next field off the front of a message that is not empty. Groups are skipped whole.
    #[inline]
    pub(crate) fn take_field(&mut self) -> Result<Field<'a>, InvalidAggregate> {
        let start = self.offset;
        let (number, wire_type) = self.take_tag()?;
        let value = match wire_type {
            0 => Value::Varint(self.take_varint()?),
            2 => {
                let length = self.take_varint()?;
                Value::Bytes(self.take_bytes(length)?)
            }
            3 => {
                self.skip_group(number)?;
                Value::Skipped
            }
            4 => return Err(InvalidAggregate::UnmatchedEndGroup { offset: start, field_number: number }),
            fixed => {
                self.skip_fixed(fixed, start)?;
                Value::Skipped
            }
        };
        Ok(Field { number, value })
    }

    #[inline]
    fn take_tag(&mut self) -> Result<(u32, u8), InvalidAggregate> {
        let offset = self.offset;
        let tag = self.take_varint()?;
        let tag = u32::try_from(tag).map_err(|_| InvalidAggregate::TagOutOfRange { offset, tag })?;
        match tag >> 3 {
            0 => Err(InvalidAggregate::FieldNumberZero { offset }),
            number => Ok((number, (tag & 7) as u8)),
        }
    }

    #[inline]
    fn take_varint(&mut self) -> Result<u64, InvalidAggregate> {
        match self.bytes.first() {
            Some(&byte) if byte < 0x80 => {
                self.advance(1);
                Ok(u64::from(byte))
            }
            _ => self.take_long_varint(),
        }
    }

    /// Excess bits of the tenth byte are shifted out, as the C++, Java and Python decoders do.
    fn take_long_varint(&mut self) -> Result<u64, InvalidAggregate> {
        let mut value = 0u64;
        for (position, &byte) in self.bytes.iter().take(MAX_VARINT_BYTES).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * position);
            if byte < 0x80 {
                self.advance(position + 1);
                return Ok(value);
            }
        }
        let offset = self.offset;
        Err(if self.bytes.len() < MAX_VARINT_BYTES {
            InvalidAggregate::TruncatedVarint { offset }
        } else {
            InvalidAggregate::OverlongVarint { offset }
        })
    }

    #[inline]
    fn take_bytes(&mut self, length: u64) -> Result<Span<'a>, InvalidAggregate> {
        let taken = usize::try_from(length).ok().and_then(|length| self.bytes.get(..length));
        match taken {
            Some(bytes) => {
                let span = Span { bytes, offset: self.offset };
                self.advance(bytes.len());
                Ok(span)
            }
            None => Err(InvalidAggregate::TruncatedValue {
                offset: self.offset,
                length,
                remaining: self.bytes.len(),
            }),
        }
    }

    fn skip_fixed(&mut self, wire_type: u8, tag_offset: usize) -> Result<(), InvalidAggregate> {
        let length = match wire_type {
            1 => 8,
            5 => 4,
            wire_type => return Err(InvalidAggregate::UndefinedWireType { offset: tag_offset, wire_type }),
        };
        self.take_bytes(length).map(drop)
    }

    /// Skips what follows the start of a group up to its end. The open groups are kept in an array, not on the
    /// call stack: a frame of nested group starts must not be able to overflow it.
    #[cold]
    fn skip_group(&mut self, number: u32) -> Result<(), InvalidAggregate> {
        let mut open = [0u32; MAX_GROUP_DEPTH];
        open[0] = number;
        let mut depth = 1;
        while depth > 0 {
            let offset = self.offset;
            let (number, wire_type) = self.take_tag()?;
            match wire_type {
                0 => drop(self.take_varint()?),
                2 => {
                    let length = self.take_varint()?;
                    self.take_bytes(length)?;
                }
                3 => {
                    *open
                        .get_mut(depth)
                        .ok_or(InvalidAggregate::GroupsTooDeep { offset, limit: MAX_GROUP_DEPTH })? = number;
                    depth += 1;
                }
                4 if open[depth - 1] == number => depth -= 1,
                4 => return Err(InvalidAggregate::UnmatchedEndGroup { offset, field_number: number }),
                fixed => self.skip_fixed(fixed, offset)?,
            }
        }
        Ok(())
    }

    #[inline]
    fn advance(&mut self, length: usize) {
        self.bytes = &self.bytes[length..];
        self.offset += length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(message: &[u8], expected: Result<&[(u32, Value<'_>)], &str>) {
        let mut span = Span { bytes: message, offset: 0 };
        let mut fields = Vec::new();
        let result = loop {
            if span.is_empty() {
                break Ok(&fields[..]);
            }
            match span.take_field() {
                Ok(field) => fields.push((field.number, field.value)),
                Err(error) => break Err(error.to_string()),
            }
        };
        assert_eq!(result, expected.map_err(String::from));
    }

    #[test]
    fn varints() {
        check(&[0x08, 0x00], Ok(&[(1, Value::Varint(0))]));
        check(&[0x08, 0x96, 0x01], Ok(&[(1, Value::Varint(150))]));
        check(&[0x08, 0x81, 0x00], Ok(&[(1, Value::Varint(1))]));
        let max = [0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        check(&max, Ok(&[(1, Value::Varint(u64::MAX))]));
        let excess_bits = [0x08, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x7e];
        check(&excess_bits, Ok(&[(1, Value::Varint(0))]));
        check(&[0x08, 0x80], Err("byte 1: varint is cut off"));
        check(&[0x08], Err("byte 1: varint is cut off"));
        let eleven_bytes = [0x08, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00];
        check(&eleven_bytes, Err("byte 1: varint is longer than 10 bytes"));
    }

    #[test]
    fn tags() {
        check(&[0x00], Err("byte 0: field number 0 is illegal"));
        check(&[0x0e], Err("byte 0: wire type 6 is not defined"));
        check(&[0x0f], Err("byte 0: wire type 7 is not defined"));
        check(&[0x0c], Err("byte 0: end of group 1 without its start"));
        let largest = [0xf8, 0xff, 0xff, 0xff, 0x0f, 0x07];
        check(&largest, Ok(&[((1 << 29) - 1, Value::Varint(7))]));
        check(&[0x80, 0x80, 0x80, 0x80, 0x10, 0x07], Err("byte 0: field tag 4294967296 exceeds 32 bits"));
    }

    #[test]
    fn values() {
        let span = Span { bytes: b"ab", offset: 2 };
        check(&[0x12, 0x02, b'a', b'b'], Ok(&[(2, Value::Bytes(span))]));
        check(
            &[0x12, 0x03, b'a', b'b'],
            Err("byte 2: length 3 runs past the end of the message (remaining: 2)"),
        );
        check(&[0x0d, 1, 2, 3, 4], Ok(&[(1, Value::Skipped)]));
        check(&[0x09, 1, 2, 3, 4], Err("byte 1: length 8 runs past the end of the message (remaining: 4)"));
    }

    #[test]
    fn groups() {
        check(
            &[0x23, 0x08, 0x01, 0x12, 0x01, b'x', 0x24, 0x08, 0x02],
            Ok(&[(4, Value::Skipped), (1, Value::Varint(2))]),
        );
        check(&[0x23, 0x1c], Err("byte 1: end of group 3 without its start"));
        check(&[0x23], Err("byte 1: varint is cut off"));
        let nested = |depth: usize| [vec![0x23; depth], vec![0x24; depth]].concat();
        check(&nested(100), Ok(&[(4, Value::Skipped)]));
        check(&nested(101), Err("byte 100: groups are nested deeper than 100 levels"));
        check(&nested(100_000), Err("byte 100: groups are nested deeper than 100 levels"));
    }
}
